//! What sessions that are behind share: they are sent the same as those that keep up, and nothing is
//! rendered twice.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::Index;

use super::joins::{Log, catch_up};
use crate::render::Terminal;
use crate::session::GroupKey;
use crate::session::{Behind, Detached, Form, Output, SavedCursor, Session, StartAt};

/// What a viewer shows: the text or bytes of a form that only grows, or rows.
#[derive(Default)]
struct Screen {
    text: Vec<u8>,
    rows: BTreeMap<u64, String>,
}

impl Screen {
    fn show(&mut self, form: Form, payload: &[u8]) {
        if !form.has_rows() {
            return self.text.extend_from_slice(payload);
        }
        let message: serde_json::Value = serde_json::from_slice(payload).unwrap();
        if message["type"] != "rows" {
            return;
        }
        drop(self.rows.split_off(&message["from"].as_u64().unwrap()));
        for row in message["rows"].as_array().unwrap() {
            self.rows.insert(row[0].as_u64().unwrap(), row[1].as_str().unwrap().to_owned());
        }
    }
}

/// A viewer with a session of its own, or away between two of them, as while a broadcast group
/// serves it.
enum Place {
    Here(Box<Session>),
    Away(Box<(Detached, GroupKey, SavedCursor, Option<Behind>)>),
    Moving,
}

struct Viewer {
    form: Form,
    screen: Screen,
    place: Place,
}

impl Viewer {
    async fn join(log: &Log, form: Form) -> Self {
        let session = log.join(StartAt::All, form).await;
        Self { form, screen: Screen::default(), place: Place::Here(Box::new(session)) }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.screen.text).into_owned()
    }

    /// Takes some messages, or all until it waits for more.
    async fn take(&mut self, log: &Log, messages: usize) {
        self.come_back(log);
        let Place::Here(session) = &mut self.place else { return };
        for _ in 0..messages {
            if session.idle_position().is_some() {
                return;
            }
            // Chunks that it has already give no message.
            let next = tokio::time::timeout(Duration::from_millis(300), session.next()).await;
            let Ok(Output::Frames(frames)) = next else { continue };
            frames.iter().for_each(|frame| self.screen.show(self.form, &frame.payload()));
        }
    }

    /// Gives its session up. What others are sent meanwhile is kept for it, or not.
    fn leave(&mut self, keeps: bool) {
        self.place = match std::mem::replace(&mut self.place, Place::Moving) {
            Place::Here(mut session) => {
                let (key, cursor) = (session.group_key(), session.saved_cursor());
                let behind = if keeps { session.one_behind() } else { None };
                Place::Away(Box::new((session.detach().unwrap(), key, cursor, behind)))
            }
            away => away,
        };
    }

    fn come_back(&mut self, log: &Log) {
        self.place = match std::mem::replace(&mut self.place, Place::Moving) {
            Place::Away(away) => {
                let (detached, key, cursor, _behind) = *away;
                Place::Here(Box::new(log.hub.resume(detached, &key, cursor)))
            }
            here => here,
        };
    }

    fn session(&mut self) -> &mut Session {
        match &mut self.place {
            Place::Here(session) => session,
            Place::Away(_) | Place::Moving => panic!("it is away"),
        }
    }
}

/// The rows of a log in a form, rendered at once.
fn rows_of(log: &[u8], form: Form) -> BTreeMap<u64, String> {
    let mut terminal = Terminal::new(0);
    let patch = terminal.feed(log);
    let content = |html: String, text: &str| if form.is_text() { text.to_owned() } else { html };
    patch.rows().map(|row| (row.offset, content(row.html(), row.text()))).collect()
}

/// The text of a log that draws nothing again.
fn text_of(log: &[u8]) -> String {
    let mut terminal = Terminal::new(0);
    let patch = terminal.feed(log);
    patch.rows().map(|row| format!("{}{}", row.text(), if row.ended { "\n" } else { "" })).collect()
}

#[derive(Clone, Debug)]
enum Act {
    Append(Vec<&'static str>),
    Take(Index, usize),
    Leave(Index, bool),
}

fn act(words: &'static [&'static str]) -> impl Strategy<Value = Act> {
    let word = any::<Index>().prop_map(|index| *index.get(words));
    prop_oneof![
        4 => prop::collection::vec(word, 1..40).prop_map(Act::Append),
        5 => (any::<Index>(), 1..4usize).prop_map(|(who, messages)| Act::Take(who, messages)),
        2 => (any::<Index>(), any::<bool>()).prop_map(|(who, keeps)| Act::Leave(who, keeps)),
    ]
}

/// Runs the acts with three viewers of each form, and checks what they show at the end.
fn run(acts: Vec<Act>, forms: &[Form]) -> Result<(), TestCaseError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let log = Log::new("");
        let mut written = String::new();
        let mut viewers = Vec::new();
        for form in forms.iter().flat_map(|form| [*form; 3]) {
            viewers.push(Viewer::join(&log, form).await);
        }
        for act in acts {
            match act {
                Act::Append(words) => {
                    let words = words.concat();
                    log.append(words.as_bytes()).await;
                    written.push_str(&words);
                }
                Act::Take(who, messages) => {
                    let at = who.index(viewers.len());
                    viewers[at].take(&log, messages).await;
                }
                Act::Leave(who, keeps) => {
                    let at = who.index(viewers.len());
                    viewers[at].leave(keeps);
                }
            }
        }
        for viewer in &mut viewers {
            viewer.take(&log, usize::MAX).await;
            match viewer.form {
                Form::Raw => prop_assert_eq!(viewer.text(), written.as_str()),
                Form::Text => prop_assert_eq!(viewer.text(), text_of(written.as_bytes())),
                form => prop_assert_eq!(&viewer.screen.rows, &rows_of(written.as_bytes(), form)),
            }
        }
        Ok(())
    })
}

/// Pieces of lines in colours that reach over several lines.
const LINES: &[&str] =
    &["a line", "\n", "\x1b[31m", "red", "\x1b[", "1m", "\x1b[m", "é", "<&>", "\n\n"];
/// The same, with rows that are drawn again.
const REDRAWN: &[&str] =
    &["a line", "\n", "\x1b[31m", "\r", "10%", "\x1b[A", "\x1b[", "2K", "\x1b[m", "<&>", "\n"];

proptest! {
    #![proptest_config(crate::testing::cases(32))]

    #[test]
    fn viewers_that_fall_behind_show_what_a_terminal_would(
        acts in prop::collection::vec(act(REDRAWN), 1..60),
    ) {
        run(acts, &[Form::Rows, Form::TextRows])?;
    }

    #[test]
    fn viewers_that_fall_behind_get_each_byte_once(
        acts in prop::collection::vec(act(LINES), 1..60),
    ) {
        run(acts, &[Form::Text, Form::Raw])?;
    }
}

const FORMS: [Form; 4] = [Form::Rows, Form::TextRows, Form::Html, Form::Text];

/// 8 KiB of lines, one word of each in colour.
fn block(number: usize) -> Vec<u8> {
    let line = |line| format!("\x1b[3{}mline\x1b[m {line} of block {number}\n", line % 8);
    let mut text: String = (0..).map(line).take(400).collect();
    text.truncate(8 * 1024 - 1);
    text.push('\n');
    text.into_bytes()
}

#[tokio::test]
async fn what_was_rendered_is_neither_read_nor_rendered_again_for_viewers_that_are_behind() {
    for form in FORMS {
        let log = Log::new("");
        let mut first = Viewer::join(&log, form).await;
        first.take(&log, usize::MAX).await;
        let mut late = Vec::new();
        for _ in 0..3 {
            let mut viewer = Viewer::join(&log, form).await;
            viewer.take(&log, usize::MAX).await;
            viewer.leave(true);
            late.push(viewer);
        }
        // More than the broadcast holds.
        for number in 0..50 {
            log.append(&block(number)).await;
            first.take(&log, usize::MAX).await;
        }
        let (renders, reads) = (log.hub.renders(), first.session().file_reads());
        for viewer in &mut late {
            viewer.take(&log, usize::MAX).await;
            assert!(viewer.screen.text == first.screen.text, "{form:?}: another text");
            assert!(viewer.screen.rows == first.screen.rows, "{form:?}: other rows");
        }
        let now = (log.hub.renders(), first.session().file_reads());
        assert_eq!(now, (renders, reads), "{form:?}");
    }
}

#[tokio::test]
async fn viewers_that_are_behind_together_render_each_piece_once() {
    for form in FORMS {
        let log = Log::new("");
        let mut viewers = Vec::new();
        for _ in 0..4 {
            let mut viewer = Viewer::join(&log, form).await;
            viewer.take(&log, usize::MAX).await;
            viewer.leave(true);
            viewers.push(viewer);
        }
        // Nobody is there when it is published.
        for number in 0..100 {
            log.append(&block(number)).await;
        }
        let before = log.hub.renders();
        viewers.iter_mut().for_each(|viewer| viewer.come_back(&log));
        let alone = {
            let viewer = &mut viewers[0];
            viewer.take(&log, 1).await;
            viewer.take(&log, usize::MAX).await;
            log.hub.renders() - before
        };
        for at in 0..100 {
            viewers[1 + at % 3].take(&log, 1).await;
        }
        for viewer in &mut viewers {
            viewer.take(&log, usize::MAX).await;
        }
        for viewer in &viewers {
            assert!(viewer.screen.text == viewers[0].screen.text, "{form:?}: another text");
            assert!(viewer.screen.rows == viewers[0].screen.rows, "{form:?}: other rows");
        }
        assert_eq!(log.hub.renders() - before, alone, "{form:?}");
    }
}

#[tokio::test]
async fn viewers_that_take_turns_continue_with_each_others_renderers() {
    for form in [Form::Rows, Form::Html] {
        let log = Log::new("");
        let mut viewers = Vec::new();
        for _ in 0..3 {
            let mut viewer = Viewer::join(&log, form).await;
            viewer.take(&log, usize::MAX).await;
            viewer.leave(true);
            viewers.push(viewer);
        }
        for number in 0..200 {
            log.append(&block(number)).await;
        }
        viewers.iter_mut().for_each(|viewer| viewer.come_back(&log));
        let before = (log.hub.renders(), viewers[0].session().file_reads());
        // Each goes ahead of the others in its turn.
        for at in 0..60 {
            viewers[at % 3].take(&log, 2).await;
        }
        let after = (log.hub.renders(), viewers[0].session().file_reads());
        let (renders, reads) = (after.0 - before.0, after.1 - before.1);
        // A replay would read the log once more.
        assert!(reads <= renders, "{form:?}: {reads} reads for {renders} pieces");
    }
}

#[tokio::test]
async fn text_that_was_held_back_is_sent_at_the_end_of_a_file_to_viewers_that_are_behind_too() {
    let log = Log::new("");
    let mut viewers = Vec::new();
    for _ in 0..3 {
        let mut viewer = Viewer::join(&log, Form::Text).await;
        viewer.take(&log, usize::MAX).await;
        viewers.push(viewer);
    }
    viewers[1..].iter_mut().for_each(|viewer| viewer.leave(true));
    log.append(b"one\n1%").await;
    viewers[0].take(&log, usize::MAX).await;
    log.append(b"\r2%").await;
    viewers[0].take(&log, usize::MAX).await;
    // Two files later nobody has the renderer of the first one any more.
    for number in 0..3 {
        std::fs::rename(log.path(), log.path().with_extension(format!("log.{number}"))).unwrap();
        std::fs::write(log.path(), format!("{number}\n3%\r4%")).unwrap();
        log.published().await;
        let until = tokio::time::Instant::now() + Duration::from_secs(20);
        while !viewers[0].text().contains(&format!("{number}\n")) {
            assert!(tokio::time::Instant::now() < until, "{}", viewers[0].text());
            viewers[0].take(&log, 1).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    let expected = "one\n1%\n2%\n0\n4%\n1\n4%\n2\n";
    for viewer in &mut viewers {
        viewer.take(&log, usize::MAX).await;
        catch_up(viewer.session()).await;
        assert_eq!(viewer.text(), expected);
    }
}

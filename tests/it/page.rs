//! The pages, as a person sees them in a browser: real logs on a real server.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant, SystemTime};

use fantoccini::Locator;
use fantoccini::key::Key;
use serde_json::{Value, json};

use crate::browser::Browser;
use crate::clients::Streaming;
use crate::servers::{DEADLINE, Program, TestServer, append, eventually};

/// The rows that a page keeps, as `window.js` has it, and a block of them more.
const ROWS_MAX: u64 = 5_250;

fn lines(range: std::ops::RangeInclusive<u32>) -> Vec<String> {
    range.map(|line| format!("line {line}")).collect()
}

fn text(lines: &[String]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

#[tokio::test]
async fn the_list_shows_the_newest_log_first_and_a_click_opens_it() {
    let server = TestServer::start().await;
    for (name, age) in [("middle.log", 60), ("oldest.log", 3600), ("newest.log", 5)] {
        server.log(name, format!("in {name}\n"));
        let modified = SystemTime::now() - Duration::from_secs(age);
        let file = std::fs::OpenOptions::new().append(true).open(server.path(name)).unwrap();
        file.set_modified(modified).unwrap();
    }
    let browser = Browser::start().await;
    browser.open(server.address, "/").await;
    let listed =
        |names: [&str; 3]| json!(names.map(|name| server.path(name).to_str().unwrap().to_owned()));
    let links = "[...document.querySelectorAll('#logs a')].map((link) => link.textContent)";
    assert_eq!(browser.value(links).await, listed(["newest.log", "middle.log", "oldest.log"]));

    // The list is kept fresh: what is written now comes to the front.
    append(server.path("oldest.log"), "and more\n");
    browser.until("document.querySelector('#logs a').textContent.endsWith('/oldest.log')").await;
    assert_eq!(browser.value(links).await, listed(["oldest.log", "newest.log", "middle.log"]));
    browser.until("document.querySelector('#logs tr time').textContent === 'writing now'").await;

    browser.click("#logs a").await;
    browser.until_rows(&["in oldest.log".to_owned(), "and more".to_owned()]).await;
    browser.until_state("live").await;
    assert_eq!(browser.client.title().await.unwrap(), "oldest.log");
    browser.assert_no_trouble().await;
}

#[tokio::test]
async fn a_log_of_any_name_is_listed_as_text_and_opens_by_a_click() {
    let server = TestServer::start().await;
    // The name of the file, and what a person reads.
    let names: [(&[u8], &str); 12] = [
        (b"with spaces .log", "with spaces .log"),
        (b"\"double\" 'single' `back`.log", "\"double\" 'single' `back`.log"),
        (b"<img src=x onerror=window.ran=1>.log", "<img src=x onerror=window.ran=1>.log"),
        (b"a &amp; b &lt;.log", "a &amp; b &lt;.log"),
        (b"two\nlines.log", "two\\nlines.log"),
        (b"two\\nlines.log", "two\\\\nlines.log"),
        (b"100%25.log", "100%25.log"),
        (b"a#b.log", "a#b.log"),
        (b"a?tail=0&b.log", "a?tail=0&b.log"),
        (b"byte \xff.log", "byte \\xff.log"),
        ("bidi \u{202e}gol.txt".as_bytes(), "bidi \\u{202e}gol.txt"),
        ("grün-日本.log".as_bytes(), "grün-日本.log"),
    ];
    let path = |name: &[u8]| server.directory.path().join(OsStr::from_bytes(name));
    for (name, shown) in &names {
        append(path(name), format!("inside {shown}\n"));
    }
    let browser = Browser::start().await;
    browser.open(server.address, "/").await;
    // One that comes later is drawn by the page's script, the others are drawn by the server.
    let late = (&b"<svg onload=window.ran=1>.log"[..], "<svg onload=window.ran=1>.log");
    append(path(late.0), format!("inside {}\n", late.1));
    let all: Vec<(&[u8], &str)> = names.iter().copied().chain([late]).collect();
    browser.until(&format!("document.querySelectorAll('#logs tr').length === {}", all.len())).await;
    let elements = "[...new Set([...document.querySelectorAll('#logs *')].map((element) => element.localName))].sort()";
    assert_eq!(browser.value(elements).await, json!(["a", "span", "td", "time", "tr"]));

    for (_, shown) in all {
        browser.open(server.address, "/").await;
        let whole = format!("{}/{shown}", server.directory.path().display());
        let mut seen = Vec::new();
        let mut link = None;
        for candidate in browser.client.find_all(Locator::Css("#logs a")).await.unwrap() {
            let text = candidate.prop("textContent").await.unwrap().unwrap();
            if text == whole {
                link = Some(candidate);
            }
            seen.push(text);
        }
        let link = link.unwrap_or_else(|| panic!("no link reads {whole:?}, these do: {seen:#?}"));
        link.click().await.unwrap();
        browser.until_rows(&[format!("inside {shown}")]).await;
        assert_eq!(browser.text("#path").await, whole);
        assert_eq!(browser.client.title().await.unwrap(), shown);
        assert_eq!(browser.value("window.ran").await, Value::Null, "{shown}");
        browser.assert_no_trouble().await;
    }
}

#[tokio::test]
async fn the_viewer_shows_the_last_thousand_lines_in_colour_and_goes_on() {
    let server = TestServer::start().await;
    let mut all: Vec<String> = lines(1..=1500);
    let mut written = text(&all[..1499]);
    written += "\x1b[31mline\x1b[0m 1500\n";
    let log = server.log("a.log", written);
    let browser = Browser::start().await;
    browser.open(server.address, &log).await;
    browser.until_rows(&all[500..]).await;
    browser.until_state("live").await;
    let colours = "const row = [...document.querySelectorAll('#rows .row')].at(-1);
                   return [getComputedStyle(row).color, getComputedStyle(row.querySelector('span')).color];";
    let colours = browser.run(colours).await;
    assert_ne!(colours[0], colours[1], "the coloured word has the colour of the others");

    for line in 1501..=1520 {
        append(&log, format!("line {line}\n"));
        all.push(format!("line {line}"));
        browser.until_rows(&all[500..]).await;
    }
    browser.assert_no_trouble().await;
}

#[tokio::test]
async fn a_progress_bar_rewrites_its_row() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "before\n");
    let browser = Browser::start().await;
    browser.open(server.address, &log).await;
    browser.until_rows(&["before".to_owned()]).await;
    for percent in [5, 30, 55, 80, 100] {
        append(&log, format!("\r\x1b[K[{}] {percent} %", "#".repeat(percent / 5)));
        let bar = format!("[{}] {percent} %", "#".repeat(percent / 5));
        browser.until_rows(&["before".to_owned(), bar]).await;
    }
    append(&log, "\r\x1b[Kdone\nafter\n");
    browser.until_rows(&["before", "done", "after"].map(str::to_owned)).await;
    browser.assert_no_trouble().await;
}

#[tokio::test]
async fn a_view_that_was_scrolled_up_stands_still_until_the_end_is_asked_for() {
    let server = TestServer::start().await;
    let mut all = lines(1..=300);
    let log = server.log("a.log", text(&all));
    let browser = Browser::start().await;
    browser.open(server.address, &log).await;
    browser.until_rows(&all).await;
    browser.until_state("live").await;

    browser.wheel(-700).await;
    browser.until_state("paused").await;
    // The topmost row in sight and where it is, once the wheel's scroll has come to rest.
    let place = "const box = document.querySelector('#log').getBoundingClientRect();
                 const row = document.elementFromPoint(box.left + 40, box.top + 30).closest('.row');
                 return [row.textContent, row.getBoundingClientRect().top];";
    let until = Instant::now() + DEADLINE;
    let mut stood = browser.run(place).await;
    loop {
        tokio::time::sleep(Duration::from_millis(150)).await;
        let now = browser.run(place).await;
        if now == stood {
            break;
        }
        assert!(Instant::now() < until, "it still scrolls: {stood} {now}");
        stood = now;
    }

    for first in (301..=800).step_by(100) {
        let more = lines(first..=first + 99);
        append(&log, text(&more));
        all.extend(more);
        let words = format!("{} new lines", all.len() - 300);
        browser
            .until(&format!("document.querySelector('#new-lines-count').textContent === '{words}'"))
            .await;
        assert_eq!(browser.run(place).await, stood, "the view moved");
    }
    assert_eq!(browser.text("#state-word").await, "Paused");
    browser.until_rows(&all).await;
    assert_eq!(browser.run(place).await, stood, "the view moved");

    let page = browser.client.active_element().await.unwrap();
    page.send_keys(&Key::End.to_string()).await.unwrap();
    browser.until_state("live").await;
    let at_end = "document.querySelector('#log').scrollHeight - document.querySelector('#log').clientHeight - document.querySelector('#log').scrollTop <= 2";
    browser.until(at_end).await;
    browser.until("document.querySelector('#new-lines').hidden").await;
    all.extend(lines(801..=900));
    append(&log, text(&all[800..]));
    browser.until_rows(&all).await;
    browser.until(at_end).await;
    browser.assert_no_trouble().await;
}

#[tokio::test]
async fn a_page_outlives_its_server_and_shows_every_line_once() {
    let directory = tempfile::tempdir().unwrap();
    let served = directory.path().to_str().unwrap();
    let log = directory.path().join("a.log");
    let target = log.to_str().unwrap();
    let mut all = lines(1..=50);
    append(&log, text(&all));
    let mut program = Program::serve(&[served]);
    let address = program.address;
    let browser = Browser::start().await;
    browser.open(address, target).await;
    browser.until_rows(&all).await;
    browser.until_state("live").await;

    for round in 0..2 {
        program.signal(rustix::process::Signal::KILL);
        program.wait().await;
        let next = all.len() as u32 + 1;
        all.extend(lines(next..=next + 1999));
        append(&log, text(&all[next as usize - 1..]));
        browser.until_state("reconnecting").await;
        assert!(browser.text("#state-detail").await.contains("connection lost at"));
        program = Program::serve_on(address.port(), &[served]);
        browser.until_state("live").await;
        browser.until_rows(&all).await;
        append(&log, format!("after {round}\n"));
        all.push(format!("after {round}"));
        browser.until_rows(&all).await;
        // A mark would say that it is not known whether lines are missing.
        assert_eq!(browser.value("document.querySelectorAll('#rows .mark').length").await, 0);
    }
    browser.assert_no_trouble().await;
}

/// Rows, and markers as `[their kind]`, in the order of the page.
const ROWS_AND_MARKS: &str = "[...document.querySelectorAll('#rows .row, #rows .mark')]
    .map((row) => row.dataset.mark ? `[${row.dataset.mark}]` : row.textContent)";

async fn until_rows_and_marks(browser: &Browser, wanted: &[&str]) {
    let wanted = json!(wanted);
    browser.until(&format!("JSON.stringify({ROWS_AND_MARKS}) === JSON.stringify({wanted})")).await;
}

#[tokio::test]
async fn a_rotation_and_a_truncation_are_marked_between_the_lines() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "one\ntwo\n");
    let browser = Browser::start().await;
    browser.open(server.address, &log).await;
    until_rows_and_marks(&browser, &["one", "two"]).await;

    std::fs::rename(&log, server.path("a.log.1")).unwrap();
    append(&log, "three\n");
    until_rows_and_marks(&browser, &["one", "two", "[rotated]", "three"]).await;
    assert!(browser.text("#rows .mark").await.starts_with("rotated at "));

    std::fs::write(&log, "").unwrap();
    append(&log, "four\n");
    until_rows_and_marks(&browser, &["one", "two", "[rotated]", "three", "[truncated]", "four"])
        .await;
    append(&log, "five\n");
    until_rows_and_marks(
        &browser,
        &["one", "two", "[rotated]", "three", "[truncated]", "four", "five"],
    )
    .await;
    browser.assert_no_trouble().await;
}

#[tokio::test]
async fn a_log_that_does_not_exist_yet_is_waited_for() {
    let server = TestServer::start().await;
    let log = server.path("later.log");
    let browser = Browser::start().await;
    browser.open(server.address, log.to_str().unwrap()).await;
    browser.until_state("waiting").await;
    assert_eq!(browser.text("#notice-title").await, "Waiting for the file");
    append(&log, "here it is\n");
    browser.until_rows(&["here it is".to_owned()]).await;
    browser.until_state("live").await;
    browser.until("document.querySelector('#notice').hidden").await;
    browser.assert_no_trouble().await;
}

#[tokio::test]
async fn a_path_outside_the_prefixes_says_forbidden_and_shows_nothing() {
    let server = TestServer::start().await;
    let browser = Browser::start().await;
    for path in ["/etc/passwd", "/etc/no-such-file"] {
        browser.open(server.address, path).await;
        assert_eq!(browser.text("h1").await, "403 · Forbidden");
        let said = browser.value("document.querySelector('main').innerText").await;
        let said: Vec<&str> =
            said.as_str().unwrap().lines().filter(|line| !line.is_empty()).collect();
        assert_eq!(said.len(), 3, "what, why and the way out: {said:?}");
        assert!(said[1].contains("outside the served directories"), "{said:?}");
        assert_eq!(said[2], "All logs", "{said:?}");
        browser.assert_no_trouble().await;
    }
    // A log that comes to lie outside while the page looks at it.
    let log = server.path("link.log");
    append(&log, "inside\n");
    browser.open(server.address, log.to_str().unwrap()).await;
    browser.until_rows(&["inside".to_owned()]).await;
    std::fs::remove_file(&log).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", &log).unwrap();
    browser.client.refresh().await.unwrap();
    browser.until("document.querySelector('h1')?.textContent === '403 · Forbidden'").await;
    browser.assert_no_trouble().await;
}

/// What someone may write into a log who wishes its readers ill.
const MALICE: [&str; 24] = [
    "<script>window.ran = 1</script>",
    "</div></div><script>window.ran = 1</script>",
    "</pre></body></html><script>window.ran = 1</script>",
    "<img src=x onerror=window.ran=1>",
    "<svg/onload=window.ran=1>",
    "<iframe srcdoc='<script>parent.ran=1</script>'></iframe>",
    "<style>*{display:none}</style><link rel=stylesheet href=//evil.example/x.css>",
    "<meta http-equiv=refresh content=0;url=//evil.example>",
    "<base href=//evil.example/><form action=//evil.example><button>",
    "\"><img src=x onerror=window.ran=1> '><img src=x onerror=window.ran=1>",
    "&lt;script&gt;window.ran = 1&lt;/script&gt; &#60;script&#62; &amp;lt;",
    "<!-- a comment --><![CDATA[ ]]><?php ?><!--title--><!--rows-->",
    "\x1b]8;;javascript:window.ran=1\x1b\\a link\x1b]8;;\x1b\\",
    "\x1b]8;;JaVaScRiPt:window.ran=1\x07a link\x1b]8;;\x07",
    "\x1b]8;;data:text/html,<script>window.ran=1</script>\x1b\\a link\x1b]8;;\x1b\\",
    "\x1b]8;;http://ok.example/\" onmouseover=\"window.ran=1\x1b\\a link\x1b]8;;\x1b\\",
    "\x1b]8;;http://ok.example/'><script>window.ran=1</script>\x1b\\a link\x1b]8;;\x1b\\",
    "\x1b]8;;https://ok.example/fine\x1b\\<b onclick=window.ran=1>a link\x1b]8;;\x1b\\",
    "\x1b[31m<script>window.ran = 1</script>\x1b[0m",
    "\x1b[38;2;1;2;3;\"onload=window.ran=1m coloured <i>\x1b[0m",
    "user \u{202e}\u{2066}// admin\u{2069} \u{2066}nimda\u{202c}\u{200f}",
    "\x1b]0;<script>window.ran=1</script>\x07a title",
    "\u{0}\u{1}\u{7f}\u{9b}31m<script>window.ran=1</script>\u{fffe}",
    "<scr\x1b[31mipt>window.ran = 1</scr\x1b[0mipt>",
];

/// What may be in a row: name, and attributes. A row's own element is not in it.
const FOREIGN: &str = "const allowed = new Map(Object.entries({
        a: ['href', 'rel', 'target'], b: [], i: [], s: [], u: ['style'], span: ['style'], br: []}));
    return [...document.querySelectorAll('#rows .row *')].filter((element) =>
        !allowed.has(element.localName)
        || ![...element.attributes].every(({ name }) => allowed.get(element.localName).includes(name))
        || /url|expression|import|position|@/i.test(element.getAttribute('style') ?? '')
        || (element.localName === 'a' && !['http:', 'https:'].includes(element.protocol))
    ).map((element) => element.outerHTML);";

#[tokio::test]
async fn nothing_in_a_log_becomes_a_script_an_element_or_a_dangerous_link() {
    let server = TestServer::start().await;
    // Each begins with a visible character, so that each half of it is a row.
    let malice = MALICE.map(|line| format!("- {line}"));
    let log = server.log("a.log", text(&malice));
    let browser = Browser::start().await;
    browser.open(server.address, &log).await;
    browser
        .until(&format!("document.querySelectorAll('#rows .row').length === {}", MALICE.len()))
        .await;
    browser.until_state("live").await;
    assert_eq!(browser.rows().await[0], malice[0], "it is there, as text");

    // Once more as it comes in pieces, for rows that grow and are drawn again.
    for (at, line) in malice.iter().enumerate() {
        let (mut first, mut second) = line.split_at(line.floor_char_boundary(line.len() / 2));
        if at % 2 == 1 {
            (first, second) = (line, "\r");
        }
        append(&log, first);
        let rows = MALICE.len() + at + 1;
        browser.until(&format!("document.querySelectorAll('#rows .row').length === {rows}")).await;
        append(&log, format!("{second}\n"));
    }
    append(&log, "the end\n");
    browser
        .until("[...document.querySelectorAll('#rows .row')].at(-1).textContent === 'the end'")
        .await;
    let rows = browser.rows().await;
    assert_eq!(rows[..MALICE.len()], rows[MALICE.len()..2 * MALICE.len()], "drawn twice the same");
    assert_eq!(browser.run(FOREIGN).await, json!([]));
    // Links, scripts and all else outside the rows are the page's own.
    let links = browser
        .value("[...document.querySelectorAll('#rows .row a')].map((link) => link.href)")
        .await;
    let fine =
        ["http://ok.example/'%3E%3Cscript%3Ewindow.ran=1%3C/script%3E", "https://ok.example/fine"];
    assert_eq!(links, json!([fine, fine].concat()));
    assert_eq!(browser.value("document.scripts.length").await, 2);
    assert_eq!(
        browser
            .value("document.querySelectorAll('iframe, object, embed, img, base, form').length")
            .await,
        0
    );
    assert_eq!(browser.value("window.ran").await, Value::Null);
    assert_eq!(browser.client.title().await.unwrap(), "a.log");
    browser.assert_no_trouble().await;
}

#[tokio::test]
async fn a_burst_of_fifty_thousand_lines_leaves_the_page_small_and_awake() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "");
    let browser = Browser::start().await;
    browser.open(server.address, &log).await;
    browser.until_state("live").await;
    // First as many as a page takes one after the other.
    for first in (1..=12_000).step_by(1000) {
        append(&log, text(&lines(first..=first + 999)));
        watch_burst(&browser, first + 999).await;
    }
    // Then more than it holds before it draws again, the first of them a row that is half there.
    let burst = text(&lines(12_001..=62_000));
    let (half, rest) = burst.split_at("line 12".len());
    append(&log, half);
    watch_burst(&browser, 12).await;
    browser
        .run(
            "const present = window.requestAnimationFrame;
             window.requestAnimationFrame = (draw) => {
                 window.requestAnimationFrame = present;
                 return setTimeout(draw, 500);
             };",
        )
        .await;
    append(&log, rest);
    watch_burst(&browser, 62_000).await;

    // And while the view stands still, at the first line, which the page loads again.
    let page = browser.client.active_element().await.unwrap();
    page.send_keys(&Key::Home.to_string()).await.unwrap();
    browser.until_state("paused").await;
    browser.until("document.querySelector('#rows .row')?.textContent === 'line 1'").await;
    let stood = browser.text("#rows .row").await;
    append(&log, text(&lines(62_001..=92_000)));
    browser
        .until("document.querySelector('#new-lines-count').textContent === '30,000 new lines'")
        .await;
    assert_eq!(browser.text("#rows .row").await, stood, "what is read stays");
    let page = browser.client.active_element().await.unwrap();
    page.send_keys(&Key::End.to_string()).await.unwrap();
    watch_burst(&browser, 92_000).await;
    browser.assert_no_trouble().await;
}

/// Looks at the page until it shows the last line: it is never large, and always answers within a second.
async fn watch_burst(browser: &Browser, last: u32) {
    let until = Instant::now() + DEADLINE;
    loop {
        let asked = Instant::now();
        let seen = browser
            .run(
                "const rows = document.querySelectorAll('#rows .row');
                 return [rows.length, rows[rows.length - 1]?.textContent];",
            )
            .await;
        let took = asked.elapsed();
        assert!(took < Duration::from_secs(1), "the page took {took:?} to answer; {seen}");
        assert!(seen[0].as_u64().unwrap() <= ROWS_MAX, "{seen}");
        if seen[1] == format!("line {last}") {
            return;
        }
        assert!(Instant::now() < until, "line {last} never came: {seen}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn two_windows_and_curl_follow_one_log_at_the_same_time() {
    let server = TestServer::start().await;
    let mut all = lines(1..=10);
    let log = server.log("a.log", text(&all));
    let browser = Browser::start().await;
    let first = browser.client.window().await.unwrap();
    browser.open(server.address, &log).await;
    browser.until_rows(&all).await;
    let second = browser.client.new_window(false).await.unwrap().handle;
    browser.client.switch_to_window(second.clone()).await.unwrap();
    browser.witness().await;
    browser.open(server.address, &log).await;
    let mut curl = Streaming::get(server.address, &format!("{log}?tail=1"), &[]).await;
    assert_eq!(server.viewers().await, 3);
    for round in 0..10 {
        let next = all.len() as u32 + 1;
        all.extend(lines(next..=next + 20));
        append(&log, text(&all[next as usize - 1..]));
        for window in [&first, &second] {
            browser.client.switch_to_window(window.clone()).await.unwrap();
            browser.until_rows(&all).await;
            browser.assert_no_trouble().await;
        }
        assert_eq!(curl.until(&text(&all[all.len() - 1..])).await, text(&all), "round {round}");
    }
    // The list says how many look.
    browser.open(server.address, "/").await;
    browser.until("document.querySelector('#logs .viewers').textContent === '2'").await;
}

#[tokio::test]
async fn the_pages_are_light_or_dark_as_the_system_or_the_reader_wants() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "plain \x1b[32mgreen\x1b[0m\n");
    let browser = Browser::start().await;
    // Brightness of the ground, of the text and of a coloured word, 0 to 255.
    let look = "const sum = (colour) => colour.match(/[\\d.]+/g).slice(0, 3).reduce((sum, part) => sum + Number(part), 0) / 3;
                const word = document.querySelector('#rows span') ?? document.body;
                return [sum(getComputedStyle(document.body).backgroundColor), sum(getComputedStyle(document.body).color), sum(getComputedStyle(word).color)];";
    let assert_look = async |light: bool, what: &str| {
        let seen = browser.run(look).await;
        let [ground, text, word] = [0, 1, 2].map(|at| seen[at].as_f64().unwrap());
        let fits = if light {
            ground > 200.0 && text < 100.0 && word < 130.0
        } else {
            ground < 50.0 && text > 150.0 && word > 130.0
        };
        assert!(fits, "{what}: ground, text, word: {seen}");
    };
    for target in ["/", &log, "/etc/passwd"] {
        for scheme in ["light", "dark"] {
            browser.prefer(scheme).await;
            browser.open(server.address, target).await;
            if target == log {
                browser.until_rows(&["plain green".to_owned()]).await;
            }
            assert_look(scheme == "light", &format!("{target} {scheme}")).await;
        }
    }
    // The system says dark; the reader chooses, and the choice stays.
    browser.open(server.address, &log).await;
    browser.until_rows(&["plain green".to_owned()]).await;
    browser.click("[data-theme-switch]").await;
    assert_look(true, "chosen light").await;
    browser.client.refresh().await.unwrap();
    browser.until_rows(&["plain green".to_owned()]).await;
    assert_look(true, "light after a reload").await;
    browser.click("[data-theme-switch]").await;
    assert_look(false, "chosen dark").await;
    browser.prefer("light").await;
    assert_look(false, "dark whatever the system says").await;
    browser.assert_no_trouble().await;
}
#[tokio::test]
async fn a_page_that_is_left_is_no_viewer_and_goes_on_when_one_comes_back() {
    let server = TestServer::start().await;
    let mut all = lines(1..=20);
    let log = server.log("a.log", text(&all));
    let browser = Browser::start().await;
    browser.open(server.address, &log).await;
    browser.until_rows(&all).await;
    assert_eq!(server.viewers().await, 1);
    browser.click(".home").await;
    browser.until("document.title === 'Logs'").await;
    eventually("the viewer is gone", async || match server.viewers().await {
        0 => Ok(()),
        other => Err(other),
    })
    .await;
    all.extend(lines(21..=40));
    append(&log, text(&all[20..]));
    browser.client.back().await.unwrap();
    browser.until_rows(&all).await;
    browser.until_state("live").await;
    append(&log, "one more\n");
    all.push("one more".to_owned());
    browser.until_rows(&all).await;
    browser.assert_no_trouble().await;
}

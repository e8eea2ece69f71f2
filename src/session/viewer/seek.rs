//! Where a viewer begins: lines before the end, or a position that is honoured only beyond doubt.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::log::file::LogFile;
use crate::log::timeline::{ROTATED_NUMBER_MAX, Reason, Span, SpanReader, WaitReason};
use crate::log::{Generation, Offset, TimelinePosition};
use crate::session::viewer::saved_cursor::{SpanCursor, fingerprint, read};
use crate::session::viewer::{Item, RETRY_INTERVAL, Viewer};
use crate::wire::request::{StartAt, WantedGeneration};

/// Searches for line starts at the same time, in the whole process.
static SEARCHES: Semaphore = Semaphore::const_new(4);

impl Viewer {
    /// Looks where to begin, at the log as it is now.
    pub(super) async fn arrive(&mut self) {
        let present = {
            let timeline = self.subscription.follower.timeline();
            let latest = timeline.latest().cloned();
            self.passed = latest.as_ref().map_or(ROTATED_NUMBER_MAX, |span| span.number);
            latest.filter(|_| !timeline.is_waiting())
        };
        if let Some(present) = &present {
            self.stop = Some(TimelinePosition { span: present.number, offset: present.end() });
        }
        // The end where a viewer that does not follow stops: the log may have grown since.
        let end = self.stop.map_or(Offset(0), |stop| stop.offset);
        self.begin(present.as_ref(), end).await;
    }

    /// Waits until the log may be read, though others have it open.
    pub(super) async fn wait_outside(&mut self) -> Option<Item> {
        if self.waiting_told.replace(WaitReason::Unreadable).is_none() {
            return Some(Item::Waiting(WaitReason::Unreadable));
        }
        tokio::time::sleep(RETRY_INTERVAL).await;
        if self.subscription.follower.can_be_opened().await {
            self.arrive().await;
            self.subscription.is_barred = false;
            self.waiting_told = None;
        }
        None
    }

    /// Goes where the viewer wants to begin, with the lines before `end` for its history. Without a present span it
    /// begins when there is one, unless it comes back to another that is still there.
    pub(super) async fn begin(&mut self, present: Option<&Arc<Span>>, end: Offset) {
        if let StartAt::From { offset, .. } = self.start.begin {
            if let Some(span) = self.find(present).await {
                let span = self.behind_late(span, offset);
                self.enter(&span, offset).await;
                self.recovered = true;
                return;
            }
            self.recovered = false;
            if let Some(span) = self.find_unproved().await {
                self.enter(&span, Offset(0)).await;
                self.tell_if_not_recovered();
                return;
            }
        }
        if let Some(present) = present {
            let from = self.start_of(present, end).await;
            self.enter(present, from).await;
            self.tell_if_not_recovered();
        }
    }

    async fn enter(&mut self, span: &Arc<Span>, offset: Offset) {
        // Entered first: its file is not let go for those that are found beside it.
        let reader = SpanReader::enter(span);
        let fingerprint = fingerprint(span.file().as_ref(), offset).await;
        self.aside = self.look_aside(span, offset).await.map(Box::new);
        self.start.late = Vec::new();
        self.at = Some(SpanCursor::new(reader, fingerprint, self.start.signed));
    }

    fn tell_if_not_recovered(&mut self) {
        if let (false, Some(at)) = (self.recovered, &self.at) {
            let (generation, from) = (at.generation, at.offset());
            self.told = Some(Item::Reset { generation, from, reason: Reason::Replaced });
        }
    }

    /// Where the wanted lines begin.
    async fn start_of(&self, present: &Span, end: Offset) -> Offset {
        let lines = match self.start.begin {
            StartAt::Lines(lines) => Some(lines),
            StartAt::All => None,
            StartAt::From { otherwise, .. } => otherwise,
        };
        let (Some(lines), Some(file)) = (lines, present.file()) else { return Offset(0) };
        // A search reads many megabytes: only a few at a time, so that followers find a thread.
        let Ok(_turn) = SEARCHES.acquire().await else { return end };
        read(&file, move |file| file.last_lines(lines, end)).await.unwrap_or(Offset(0))
    }

    /// The span that holds the wanted position, if it is the same file beyond doubt.
    async fn find(&self, present: Option<&Arc<Span>>) -> Option<Arc<Span>> {
        let StartAt::From { offset, of, .. } = self.start.begin else { return None };
        if let WantedGeneration::Generation(wanted) = of {
            let known = self.subscription.follower.timeline().find(wanted, offset);
            if known.is_some() {
                return known;
            }
        }
        match of {
            WantedGeneration::Present => present.filter(|present| offset <= present.end()).cloned(),
            WantedGeneration::Nothing => None,
            WantedGeneration::Generation(wanted) => self.find_generation(wanted, offset).await,
        }
    }

    /// What a position that can't be proved may be of: to begin there anew is to miss nothing.
    async fn find_unproved(&self) -> Option<Arc<Span>> {
        match self.start.begin {
            StartAt::From { of: WantedGeneration::Generation(wanted), otherwise: None, .. } => {
                self.subscription.follower.find_unproved(wanted).await
            }
            _ => None,
        }
    }

    /// The span of a generation that is not the present one, or was not when it was named.
    pub(super) async fn find_generation(
        &self,
        wanted: Generation,
        offset: Offset,
    ) -> Option<Arc<Span>> {
        let follower = &self.subscription.follower;
        let (is_known, is_lost) = {
            let timeline = follower.timeline();
            (timeline.contains(wanted), timeline.is_lost(wanted))
        };
        // One that has ended under our eyes is not the present one: a head that it shares with that, as a truncation
        // leaves it, proves nothing.
        if is_lost {
            return None;
        }
        if !is_known {
            // Another server has named the same file otherwise.
            let twin = follower.timeline().latest_of_inode(wanted);
            if let Some(twin) = twin {
                let file = twin.file();
                let is_proved = match &file {
                    Some(file) => read(file, LogFile::head)
                        .await
                        .is_ok_and(|head| wanted.is_proved_by(file.identity(), &head, offset)),
                    None => wanted.has_signature_of(&twin.signed()),
                };
                if is_proved {
                    let known = follower.timeline().find(twin.generation, offset);
                    return match known {
                        Some(span) => Some(span),
                        None => follower.find_rotated(twin.signed(), offset).await,
                    };
                }
            }
        }
        follower.find_rotated(wanted, offset).await
    }
}

//! The place where sessions begin.

use std::sync::Arc;

use crate::log::{Follower, LogPath, Refusal, Registry, Subscription};
use crate::render::{Decode, Interpretation};
use crate::session::audience::{AudienceMessages, Audiences};
use crate::session::checkpoints::Checkpoints;
use crate::session::fanout::Fanouts;
use crate::session::group::{Detached, GroupKey};
use crate::session::session::Session;
use crate::session::viewer::{SavedCursor, Viewer};
use crate::wire::frame::Form;
use crate::wire::request::{StartAt, StreamRequest};

/// What all sessions of a server share: the followers, and the fan-out of each log.
pub struct Hub {
    registry: Arc<Registry>,
    fanouts: Arc<Fanouts>,
    audiences: Arc<Audiences>,
}

impl Hub {
    /// A hub over the logs of a registry.
    #[must_use]
    pub fn new(registry: Arc<Registry>) -> Self {
        Self { registry, fanouts: Arc::default(), audiences: Arc::default() }
    }

    /// The followers.
    #[must_use]
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// Who views which log.
    #[must_use]
    pub fn audiences(&self) -> &Arc<Audiences> {
        &self.audiences
    }

    /// How many pieces of logs have been rendered and encoded, for one viewer or for all.
    #[must_use]
    pub fn renders(&self) -> u64 {
        self.fanouts.renders()
    }

    /// How many gaps sessions have announced. A session of a broadcast group counts as one.
    #[must_use]
    pub fn gaps(&self) -> u64 {
        self.fanouts.gaps()
    }

    /// The checkpoints of the terminal that sessions of a log have saved, if they have it understood
    /// like this.
    #[must_use]
    pub fn checkpoints(
        &self,
        follower: &Arc<Follower>,
        interpretation: Interpretation,
    ) -> Arc<Checkpoints> {
        self.fanouts.checkpoints(follower, interpretation)
    }

    /// Joins a log as a new viewer.
    ///
    /// # Errors
    /// When the log may not be read, or does not exist and `request.wait` is off.
    pub async fn join(
        &self,
        log: &LogPath,
        request: StreamRequest,
        form: Form,
    ) -> Result<Session, Refusal> {
        // Without control messages a viewer can't distinguish late bytes of another file.
        let late = if form.has_control() { request.late } else { Vec::new() };
        let request = StreamRequest { late: Vec::new(), ..request };
        let subscription: Subscription = self.registry.join(log, request.wait).await?;
        // Bytes are the same however they are understood, and begin with any of the file's lines.
        let mut request = request;
        let interpretation = if form.is_rendered() {
            request.interpretation
        } else {
            request.interpretation.decode = Decode::Off;
            Interpretation::default()
        };
        let fanout = self.fanouts.of(&subscription.follower, interpretation);
        let shared = Arc::clone(&fanout);
        let viewer = Viewer::new(
            subscription,
            StreamRequest { late, ..request.clone() },
            Arc::clone(fanout.reads()),
            move |history| !shared.has_history(history, form),
        );
        let messages = self.messages_about(log, &request, form);
        Ok(Session::new(viewer.await, fanout, form, request).with_audience(messages))
    }

    /// The messages about a log's audience, for a session that wants and can have them.
    fn messages_about(
        &self,
        log: &LogPath,
        request: &StreamRequest,
        form: Form,
    ) -> Option<AudienceMessages> {
        (request.audience && form.has_control()).then(|| self.audiences.messages(log))
    }

    /// Continues a detached session of a group from the cursor of the session that served its viewer.
    #[must_use]
    pub fn resume(&self, detached: Detached, group: &GroupKey, cursor: SavedCursor) -> Session {
        let Detached { presence, skip } = detached;
        let GroupKey { form, interpretation, signed, audience, history, .. } = *group;
        let request = StreamRequest {
            history,
            tail: true,
            wait: true,
            signed,
            audience,
            skip,
            interpretation,
            ..StreamRequest::new(StartAt::Lines(0))
        };
        let subscription = Subscription::new(presence);
        let fanout = self.fanouts.of(&subscription.follower, interpretation);
        let reads = Arc::clone(fanout.reads());
        let viewer = Viewer::resume(subscription, request.clone(), reads, cursor);
        let messages = self.messages_about(viewer.log(), &request, form);
        Session::resumed(viewer, fanout, form, request).with_audience(messages)
    }
}

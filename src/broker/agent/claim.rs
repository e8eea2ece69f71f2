//! One agent for each name: the second one is refused.
//!
//! Before an agent begins it asks whether somebody answers under its name. Two that begin at the same
//! time, or on two sides of a cut, hear of each other as soon as they can. Then the one that had the
//! name first keeps it.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::time::sleep;

use crate::broker::ask::{Answer, Here, Request};
use crate::broker::message::milliseconds;
use crate::broker::names::{self, HostName};
use crate::broker::nats::{AskFailure, Broker, Subscription};

/// An agent that does not answer within this time does not work any more.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(2);
/// The pause before the next attempt to subscribe.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Takes the name. The requests that come under it can be received from then on. None when another
/// agent has it.
pub(super) async fn claim(broker: &Broker, host: &HostName) -> Option<(Here, Subscription)> {
    let subject = names::ask(host);
    loop {
        let asked = broker.request(&subject, Request::Who.encode(), ANSWER_TIME_MAX).await;
        match asked {
            Ok((fields, payload)) => {
                if let Ok(Answer::Here(other)) = Answer::decode(&fields, payload) {
                    tracing::debug!(?other, "another agent has the name");
                    return None;
                }
            }
            Err(AskFailure::Nobody | AskFailure::Silence) => {}
        }
        let here = Here {
            instance: fastrand::u64(..),
            since: milliseconds(SystemTime::now()),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            is_leaving: false,
        };
        match broker.subscribe(&subject).await {
            Ok(subscription) => return Some((here, subscription)),
            Err(error) => {
                tracing::debug!(?error, "cannot subscribe");
                sleep(RETRY_INTERVAL).await;
            }
        }
    }
}

/// Waits for another agent with the same name, and returns whether it had it before this one.
pub(super) async fn another_was_first(broker: &Broker, host: &HostName, own: &Here) -> bool {
    let Ok(mut heard) = broker.subscribe(&names::here(host)).await else {
        sleep(RETRY_INTERVAL).await;
        return false;
    };
    while let Some(message) = heard.next().await {
        let Ok(other) = Here::decode(&message.fields) else { continue };
        if other.instance == own.instance || other.is_leaving {
            continue;
        }
        if other.is_before(own) {
            return true;
        }
        tracing::warn!(%host, "another agent has the same name; it is to give it up");
        // It may not have heard of this one yet.
        broker.send(&names::here(host), (own.encode(), Bytes::new())).await;
    }
    false
}

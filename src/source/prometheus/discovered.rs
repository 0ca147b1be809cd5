//! A Prometheus that is searched for among the Services of the cluster. It is searched for again if it fails for a
//! while, or if other Services can be one.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::HeaderMap;
use pilothouse_core::domain::found::{Found, Outcome, Tried};
use pilothouse_core::domain::id::Name;
use pilothouse_core::domain::settings::PrometheusSettings;
use pilothouse_core::policy::discovery::{Candidate, PROMETHEUS};
use tokio::time::Instant;

use super::client::{Prometheus, PrometheusError, Queries, Vector};
use super::refresh::Refresh;
use crate::source::search::{Answered, Catalog, Listing, Probe, Unlisted, of_listing, search};
use crate::wire::client::ReadClient;

/// How long a Service may take to answer when it is tried.
const TRY: Duration = Duration::from_secs(5);
/// How long a Prometheus must fail until it is searched for again, and how long after a search without result.
const AGAIN: Duration = Duration::from_secs(60);
/// The same after a search that was denied.
const DENIED: Duration = Duration::from_secs(300);
/// The number of series that a Prometheus with any target has.
const HAS_DATA: &str = "count(up)";

/// The client. Clones share the Prometheus that was found.
#[derive(Clone)]
pub(super) struct Discovered(Arc<Shared>);

struct Shared {
    catalog: Catalog,
    probe: Asking,
    /// How often to check whether other Services can be a Prometheus.
    check: Duration,
    held: tokio::sync::Mutex<Held>,
    /// For display, without waiting for a search.
    seen: Mutex<Seen>,
}

#[derive(Clone, Default)]
struct Seen {
    shown: String,
    through: Option<Name>,
    found: Option<Arc<Found>>,
}

#[derive(Default)]
struct Held {
    client: Option<Prometheus>,
    candidates: Vec<Candidate>,
    /// The error of the latest search.
    error: Option<PrometheusError>,
    searched: Option<Instant>,
    checked: Option<Instant>,
    failing: Option<Instant>,
}

impl Held {
    /// Whether the Services have to be read now, because a search may be due.
    fn is_due(&self, check: Duration) -> bool {
        self.checked.is_none_or(|at| at.elapsed() >= check) || self.has_failed()
    }

    /// Whether the Prometheus in use has failed for long.
    fn has_failed(&self) -> bool {
        self.failing.is_some_and(|at| at.elapsed() >= AGAIN)
    }

    /// Whether to search again among the same candidates.
    fn is_tried_again(&self) -> bool {
        let wait = match self.error {
            None => return self.has_failed(),
            Some(PrometheusError::Denied(_)) => DENIED,
            Some(_) => AGAIN,
        };
        self.searched.is_none_or(|at| at.elapsed() >= wait)
    }
}

impl Discovered {
    pub(super) fn new(
        catalog: Catalog,
        reader: ReadClient,
        headers: HeaderMap,
        settings: PrometheusSettings,
    ) -> Self {
        let probe = Asking { reader, headers, settings };
        let check = catalog.check_every();
        Self(Arc::new(Shared {
            catalog,
            probe,
            check,
            held: tokio::sync::Mutex::default(),
            seen: Mutex::default(),
        }))
    }

    /// Returns the Prometheus in use, after a search if one is due.
    async fn client(&self) -> Result<Prometheus, PrometheusError> {
        let mut held = self.0.held.lock().await;
        if held.is_due(self.0.check) {
            let listing = match self.0.catalog.services().await {
                Ok(listing) => listing,
                Err(why) => {
                    let error = self.unlisted(why);
                    let is_denied = matches!(error, PrometheusError::Denied(_));
                    let checked = is_denied.then(Instant::now);
                    *held = Held { error: Some(error.clone()), checked, ..Held::default() };
                    return Err(error);
                }
            };
            held.checked = Some(Instant::now());
            let candidates = of_listing(&PROMETHEUS, &listing);
            let never = held.searched.is_none();
            if never || candidates != held.candidates || held.is_tried_again() {
                self.search(&mut held, &listing, candidates).await;
            }
        }
        match (&held.client, &held.error) {
            (Some(client), _) => Ok(client.clone()),
            (None, Some(error)) => Err(error.clone()),
            (None, None) => Err(PrometheusError::NoneFound("no Prometheus was found".into())),
        }
    }

    async fn search(&self, held: &mut Held, listing: &Listing, candidates: Vec<Candidate>) {
        let (client, found) = search(&PROMETHEUS, listing, &candidates, &self.0.probe).await;
        *held = Held {
            error: if client.is_some() { None } else { Some(none_found(&found)) },
            client,
            candidates,
            searched: Some(Instant::now()),
            checked: held.checked,
            failing: None,
        };
        let seen = Seen {
            shown: held.client.as_ref().map(Prometheus::shown).unwrap_or_default(),
            through: held.client.as_ref().and_then(Queries::through),
            found: Some(Arc::new(found)),
        };
        *self.0.seen.lock().unwrap_or_else(PoisonError::into_inner) = seen;
    }

    fn unlisted(&self, why: Unlisted) -> PrometheusError {
        *self.0.seen.lock().unwrap_or_else(PoisonError::into_inner) = Seen::default();
        let help = "without the Services no Prometheus is found; set prometheus.url or prometheus.service";
        match why {
            Unlisted::Denied(why) => PrometheusError::Denied(format!("{why}: {help}")),
            // the source of the Services reports the failure itself
            Unlisted::Failing(why) => {
                PrometheusError::NoneFound(format!("the Services cannot be read ({why}): {help}"))
            }
        }
    }

    fn seen(&self) -> Seen {
        self.0.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Queries for Discovered {
    fn shown(&self) -> String {
        self.seen().shown
    }

    async fn query(&self, expr: &str, limit: Duration) -> Result<Vector, PrometheusError> {
        let answer = self.client().await?.query(expr, limit).await;
        let mut held = self.0.held.lock().await;
        match &answer {
            Ok(_) => held.failing = None,
            // an answer of the Prometheus, which another one would give too
            Err(PrometheusError::Refused { code: 400 | 422, .. }) => {}
            Err(_) => {
                held.failing.get_or_insert_with(Instant::now);
            }
        }
        answer
    }

    fn through(&self) -> Option<Name> {
        self.seen().through
    }

    fn found(&self) -> Option<Arc<Found>> {
        self.seen().found
    }
}

/// The error of a search without result.
fn none_found(found: &Found) -> PrometheusError {
    let help = "set prometheus.url or prometheus.service";
    let searched = found.searched();
    let Some(first) = found.tried.first() else {
        return PrometheusError::NoneFound(format!("no Prometheus among {searched}; {help}"));
    };
    let others = match found.tried.len() {
        1 => String::new(),
        n => format!(" (and {} more: see `pilothouse doctor`)", n - 1),
    };
    let told = |one: &Tried| format!("{}: {}{others}", one.service, one.why());
    let is_other = |tried: &&Tried| matches!(tried.outcome, Outcome::Login | Outcome::Other);
    // a permission can be granted, so it is told even if others fail for another reason
    let denied = found.tried.iter().find(|tried| tried.outcome == Outcome::Denied);
    match (denied, found.tried.iter().find(|tried| !is_other(tried))) {
        (Some(denied), _) => PrometheusError::Denied(told(denied)),
        (None, Some(failing)) => {
            PrometheusError::Service { outcome: failing.outcome, message: told(failing) }
        }
        // nothing fails: these Services do not want to be read, or are something else
        (None, None) => PrometheusError::NoneFound(format!(
            "no usable Prometheus among {searched}: {}; {help}",
            told(first)
        )),
    }
}

/// Asks Services whether they are a Prometheus.
struct Asking {
    reader: ReadClient,
    headers: HeaderMap,
    settings: PrometheusSettings,
}

impl Probe for Asking {
    type Client = Prometheus;

    async fn ask(&self, candidate: &Candidate) -> Answered<Prometheus> {
        let client = Prometheus::behind(self.reader.clone(), candidate.address.clone(), self.headers.clone());
        let has_data = match client.query(HAS_DATA, TRY).await {
            Ok(answer) => answer.samples.iter().any(|s| s.value.is_some_and(|v| v > 0.0)),
            Err(error) => return Answered::No { outcome: outcome(&error), error: error.to_string() },
        };
        // one with metrics of traffic is more useful than one with other metrics
        let worth = if !has_data {
            0
        } else if Refresh::new(&self.settings).has_traffic(&client, TRY).await {
            2
        } else {
            1
        };
        Answered::Yes { client, worth }
    }
}

fn outcome(error: &PrometheusError) -> Outcome {
    match error {
        PrometheusError::Denied(_) => Outcome::Denied,
        PrometheusError::Service { outcome, .. } => *outcome,
        PrometheusError::Timeout(_) => Outcome::Slow,
        PrometheusError::Decode(_) | PrometheusError::Refused { code: 404 | 405, .. } => Outcome::Other,
        PrometheusError::Config(_)
        | PrometheusError::Unreachable(_)
        | PrometheusError::Refused { .. }
        | PrometheusError::NoneFound(_) => Outcome::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn when_it_is_searched_for_again() {
        let check = Duration::from_secs(30);
        let later = async |secs| tokio::time::advance(Duration::from_secs(secs)).await;
        let now = || Some(Instant::now());
        assert!(Held::default().is_due(check), "nothing is known yet");
        // one that works is kept
        let held = Held { searched: now(), checked: now(), ..Held::default() };
        assert!(!held.is_due(check));
        later(31).await;
        assert!(held.is_due(check) && !held.is_tried_again(), "only if other Services can be one");
        later(3600).await;
        assert!(!held.is_tried_again());
        // one that fails is replaced after a minute
        let held = Held { failing: now(), searched: now(), checked: now(), ..Held::default() };
        later(29).await;
        assert!(!held.is_due(check));
        later(31).await;
        assert!(held.is_due(check) && held.is_tried_again());
        // a search without result is repeated, a denied one less often
        for (error, secs) in
            [(PrometheusError::NoneFound(String::new()), 60), (PrometheusError::Denied(String::new()), 300)]
        {
            let held = Held { error: Some(error), searched: now(), ..Held::default() };
            later(secs - 1).await;
            assert!(!held.is_tried_again(), "{secs}");
            later(1).await;
            assert!(held.is_tried_again(), "{secs}");
        }
    }

    #[test]
    fn the_error_says_what_can_be_done() {
        let tried = |service: &str, outcome: Outcome| Tried {
            service: service.into(),
            installation: "name".into(),
            outcome,
            error: None,
        };
        let words = |tried: Vec<Tried>| {
            let found = Found { product: "Prometheus".into(), services: 9, tried, ..Found::default() };
            let error = none_found(&found);
            (error.state().map(|state| state.as_str()), error.is_lasting(), error.to_string())
        };
        let (state, lasting, text) = words(Vec::new());
        assert_eq!((state, lasting), (Some("not-installed"), true));
        assert_eq!(
            text,
            "no Prometheus among the cluster's 9 Services; set prometheus.url or prometheus.service"
        );
        let login = || tried("a/p:1", Outcome::Login);
        let (state, _, text) = words(vec![login()]);
        assert_eq!(state, Some("not-installed"));
        assert!(
            text.starts_with("no usable Prometheus among the cluster's 9 Services: a/p:1: wants a login"),
            "{text}"
        );
        let (state, lasting, text) = words(vec![login(), tried("b/p:1", Outcome::Slow)]);
        assert_eq!((state, lasting), (None, false));
        assert_eq!(text, "b/p:1: no answer in time (and 1 more: see `pilothouse doctor`)");
        let (state, ..) = words(vec![tried("b/p:1", Outcome::Slow), tried("c/p:1", Outcome::Denied)]);
        assert_eq!(state, Some("denied"));
    }
}

//! A server that is searched for among the Services of the cluster. It is searched for again if it fails for a while, or
//! if other Services can be one.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pilothouse_core::domain::found::{Found, Outcome, Tried};
use pilothouse_core::domain::id::Name;
use pilothouse_core::policy::discovery::{Candidate, Product};
use tokio::time::Instant;

use super::{Kind, Reached, ServerError};
use crate::source::search::{Catalog, Listing, Probe, Unlisted, of_listing, search};

/// How long a Service may take to answer when it is tried.
pub const TRY: Duration = Duration::from_secs(5);
/// How long a server must fail until it is searched for again, and how long after a search without result.
const AGAIN: Duration = Duration::from_secs(60);
/// The same after a search that was denied.
const DENIED: Duration = Duration::from_secs(300);

/// The search, and the server in use. Clones share them.
pub struct Searched<P: Probe>(Arc<Shared<P>>);

impl<P: Probe> Clone for Searched<P> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

struct Shared<P: Probe> {
    kind: &'static Kind,
    product: &'static Product,
    catalog: Catalog,
    probe: P,
    /// How often to check whether other Services can be the product.
    check: Duration,
    held: tokio::sync::Mutex<Held<P::Client>>,
    /// For display, without waiting for a search.
    seen: Mutex<Seen>,
}

/// What is known of the server in use and of the latest search.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub shown: String,
    pub through: Option<Name>,
    pub found: Option<Arc<Found>>,
}

struct Held<C> {
    client: Option<C>,
    candidates: Vec<Candidate>,
    /// The error of the latest search.
    error: Option<ServerError>,
    searched: Option<Instant>,
    checked: Option<Instant>,
    failing: Option<Instant>,
}

impl<C> Default for Held<C> {
    fn default() -> Self {
        Self {
            client: None,
            candidates: Vec::new(),
            error: None,
            searched: None,
            checked: None,
            failing: None,
        }
    }
}

impl<C> Held<C> {
    /// Whether the Services have to be read now, because a search may be due.
    fn is_due(&self, check: Duration) -> bool {
        self.checked.is_none_or(|at| at.elapsed() >= check) || self.has_failed()
    }

    /// Whether the server in use has failed for long.
    fn has_failed(&self) -> bool {
        self.failing.is_some_and(|at| at.elapsed() >= AGAIN)
    }

    /// Whether to search again among the same candidates.
    fn is_tried_again(&self) -> bool {
        let wait = match self.error {
            None => return self.has_failed(),
            Some(ServerError::Denied(_)) => DENIED,
            Some(_) => AGAIN,
        };
        self.searched.is_none_or(|at| at.elapsed() >= wait)
    }
}

impl<P: Probe> Searched<P>
where
    P::Client: Clone + Reached,
{
    pub fn new(kind: &'static Kind, product: &'static Product, catalog: Catalog, probe: P) -> Self {
        let check = catalog.check_every();
        let (held, seen) = (tokio::sync::Mutex::default(), Mutex::default());
        Self(Arc::new(Shared { kind, product, catalog, probe, check, held, seen }))
    }

    /// Returns the server in use, after a search if one is due.
    pub async fn client(&self) -> Result<P::Client, ServerError> {
        let mut held = self.0.held.lock().await;
        if held.is_due(self.0.check) {
            let listing = match self.0.catalog.services().await {
                Ok(listing) => listing,
                Err(why) => {
                    let error = self.unlisted(why);
                    let is_denied = matches!(error, ServerError::Denied(_));
                    let checked = is_denied.then(Instant::now);
                    *held = Held { error: Some(error.clone()), checked, ..Held::default() };
                    return Err(error);
                }
            };
            held.checked = Some(Instant::now());
            let candidates = of_listing(self.0.product, &listing);
            let never = held.searched.is_none();
            if never || candidates != held.candidates || held.is_tried_again() {
                self.search(&mut held, &listing, candidates).await;
            }
        }
        match (&held.client, &held.error) {
            (Some(client), _) => Ok(client.clone()),
            (None, Some(error)) => Err(error.clone()),
            (None, None) => Err(ServerError::NoneFound(format!("no {} was found", self.0.kind.product))),
        }
    }

    async fn search(&self, held: &mut Held<P::Client>, listing: &Listing, candidates: Vec<Candidate>) {
        let (client, found) = search(self.0.product, listing, &candidates, &self.0.probe).await;
        *held = Held {
            error: if client.is_some() { None } else { Some(none_found(self.0.kind, &found)) },
            client,
            candidates,
            searched: Some(Instant::now()),
            checked: held.checked,
            failing: None,
        };
        let seen = Seen {
            shown: held.client.as_ref().map(Reached::shown).unwrap_or_default(),
            through: held.client.as_ref().and_then(Reached::through),
            found: Some(Arc::new(found)),
        };
        *self.0.seen.lock().unwrap_or_else(PoisonError::into_inner) = seen;
    }

    fn unlisted(&self, why: Unlisted) -> ServerError {
        *self.0.seen.lock().unwrap_or_else(PoisonError::into_inner) = Seen::default();
        let Kind { section, product, .. } = self.0.kind;
        let help =
            format!("without the Services no {product} is found; set {section}.url or {section}.service");
        match why {
            Unlisted::Denied(why) => ServerError::Denied(format!("{why}: {help}")),
            // the source of the Services reports the failure itself
            Unlisted::Failing(why) => {
                ServerError::NoneFound(format!("the Services cannot be read ({why}): {help}"))
            }
        }
    }

    /// Notes whether the server answers, for the next search.
    pub async fn note<T>(&self, answer: &Result<T, ServerError>) {
        let mut held = self.0.held.lock().await;
        match answer {
            Ok(_) => held.failing = None,
            // an answer of the server, which another one would give too
            Err(ServerError::Refused { code: 400 | 422, .. }) => {}
            Err(_) => {
                held.failing.get_or_insert_with(Instant::now);
            }
        }
    }

    pub fn seen(&self) -> Seen {
        self.0.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The error of a search without result.
fn none_found(kind: &Kind, found: &Found) -> ServerError {
    let Kind { section, product, .. } = kind;
    let help = format!("set {section}.url or {section}.service");
    let searched = found.searched();
    let Some(first) = found.tried.first() else {
        return ServerError::NoneFound(format!("no {product} among {searched}; {help}"));
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
        (Some(denied), _) => ServerError::Denied(told(denied)),
        (None, Some(failing)) => ServerError::Service { outcome: failing.outcome, message: told(failing) },
        // nothing fails: these Services do not want to be read, or are something else
        (None, None) => {
            ServerError::NoneFound(format!("no usable {product} among {searched}: {}; {help}", told(first)))
        }
    }
}

/// The outcome of a try that failed.
pub fn outcome(error: &ServerError) -> Outcome {
    match error {
        ServerError::Denied(_) => Outcome::Denied,
        ServerError::Service { outcome, .. } => *outcome,
        ServerError::Timeout(_) => Outcome::Slow,
        ServerError::Decode(_) | ServerError::Refused { code: 404 | 405, .. } => Outcome::Other,
        ServerError::Config(_)
        | ServerError::Unreachable(_)
        | ServerError::Refused { .. }
        | ServerError::NoneFound(_) => Outcome::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::prometheus::KIND;

    #[tokio::test(start_paused = true)]
    async fn when_it_is_searched_for_again() {
        let check = Duration::from_secs(30);
        let later = async |secs| tokio::time::advance(Duration::from_secs(secs)).await;
        let now = || Some(Instant::now());
        assert!(Held::<()>::default().is_due(check), "nothing is known yet");
        // one that works is kept
        let held = Held::<()> { searched: now(), checked: now(), ..Held::default() };
        assert!(!held.is_due(check));
        later(31).await;
        assert!(held.is_due(check) && !held.is_tried_again(), "only if other Services can be one");
        later(3600).await;
        assert!(!held.is_tried_again());
        // one that fails is replaced after a minute
        let held = Held::<()> { failing: now(), searched: now(), checked: now(), ..Held::default() };
        later(29).await;
        assert!(!held.is_due(check));
        later(31).await;
        assert!(held.is_due(check) && held.is_tried_again());
        // a search without result is repeated, a denied one less often
        for (error, secs) in
            [(ServerError::NoneFound(String::new()), 60), (ServerError::Denied(String::new()), 300)]
        {
            let held = Held::<()> { error: Some(error), searched: now(), ..Held::default() };
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
            let error = none_found(&KIND, &found);
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

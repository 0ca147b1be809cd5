//! Searches the Services of a cluster for a server that is not configured, such as a Prometheus. The table of a product
//! ([`Product`]) says which Services can be one; a [`Probe`] asks each of them.

use std::sync::Arc;
use std::time::Duration;

use pilothouse_core::domain::found::{Found, Outcome, Tried};
use pilothouse_core::domain::id::{ClusterId, Name};
use pilothouse_core::domain::service::Service;
use pilothouse_core::facts::table::Coverage;
use pilothouse_core::facts::world::World;
use pilothouse_core::policy::discovery::{Candidate, Product, candidates};
use tokio::sync::watch;

use crate::wire::client::{ReadClient, escape};
use crate::wire::decode::Pools;
use crate::wire::decode::network::service;
use crate::wire::error::ApiError;
use crate::wire::pages;

/// The maximum number of Services that are asked.
const MOST: usize = 8;
/// How many of them are asked at the same time.
const AT_ONCE: usize = 4;
/// The largest page of a list of Services.
const PAGE_CAP: usize = 64 << 20;

/// Where the Services of the cluster are read.
#[derive(Clone)]
pub enum Catalog {
    /// In the shared state, which has all Services that the user may see.
    Watched { world: watch::Receiver<Arc<World>>, cluster: ClusterId },
    /// From the API server, because they are not watched, or only in some namespaces: these.
    Listed { reader: ReadClient, namespaces: Vec<Name> },
}

/// The Services of a cluster.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    pub services: Vec<Arc<Service>>,
    /// The namespaces of these Services. Empty: all.
    pub namespaces: Vec<Name>,
}

/// Why the Services are not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unlisted {
    Denied(String),
    Failing(String),
}

impl Catalog {
    /// Returns how often to read the Services again. Those of the shared state cost no request.
    pub fn check_every(&self) -> Duration {
        match self {
            Self::Watched { .. } => Duration::from_secs(30),
            Self::Listed { .. } => Duration::from_secs(300),
        }
    }

    /// Returns the Services. Waits until they have been read, or cannot be read.
    pub async fn services(&self) -> Result<Listing, Unlisted> {
        match self {
            Self::Watched { world, cluster } => watched(world.clone(), *cluster).await,
            Self::Listed { reader, namespaces } => listed(reader, namespaces).await,
        }
    }
}

async fn watched(mut world: watch::Receiver<Arc<World>>, id: ClusterId) -> Result<Listing, Unlisted> {
    loop {
        let now = world.borrow_and_update().clone();
        if let Some(cluster) = now.cluster(id) {
            let listing = |namespaces: &[Name]| Listing {
                services: cluster.services.iter().cloned().collect(),
                namespaces: namespaces.to_vec(),
            };
            match &cluster.services.cover {
                Coverage::Complete | Coverage::NotInstalled => return Ok(listing(&[])),
                Coverage::Namespaces(names) => return Ok(listing(names)),
                Coverage::Denied(reason) => return Err(Unlisted::Denied(reason.to_string())),
                Coverage::Never | Coverage::Loading { .. } => {
                    let failing = cluster.source("services").filter(|s| s.state.is_trouble());
                    if let Some(failing) = failing {
                        let why = failing.error.as_ref().map_or_else(String::new, ToString::to_string);
                        return Err(Unlisted::Failing(why));
                    }
                }
            }
        }
        if world.changed().await.is_err() {
            // the hub has ended because of a shutdown, and this task is canceled next
            std::future::pending::<()>().await;
        }
    }
}

async fn listed(reader: &ReadClient, namespaces: &[Name]) -> Result<Listing, Unlisted> {
    let everywhere = one_list(reader, "/api/v1/services").await;
    match everywhere {
        Ok(services) => Ok(Listing { services, namespaces: Vec::new() }),
        Err(ApiError::Forbidden { .. }) if !namespaces.is_empty() => {
            let mut services = Vec::new();
            for namespace in namespaces {
                let path = format!("/api/v1/namespaces/{}/services", escape(namespace));
                services.extend(one_list(reader, &path).await.map_err(|e| unlisted(&e))?);
            }
            Ok(Listing { services, namespaces: namespaces.to_vec() })
        }
        Err(error) => Err(unlisted(&error)),
    }
}

async fn one_list(reader: &ReadClient, path: &str) -> Result<Vec<Arc<Service>>, ApiError> {
    let mut pools = Pools::default();
    let read = |json: &[u8]| service(&mut pools, json).map(Arc::new);
    Ok(pages::whole(&reader.patient(), path, "ServiceList", PAGE_CAP, read).await?.rows)
}

fn unlisted(error: &ApiError) -> Unlisted {
    match error {
        ApiError::Forbidden { .. } => {
            let whom = error.refused().map_or_else(String::new, |whom| format!(" ({whom} may not)"));
            Unlisted::Denied(format!("403, needs list services{whom}"))
        }
        other => Unlisted::Failing(other.to_string()),
    }
}

/// How a Service answered.
pub enum Answered<C> {
    /// It is the product. `worth`: 0 if it has no data, more if it is more useful.
    Yes {
        client: C,
        worth: u8,
    },
    No {
        outcome: Outcome,
        error: String,
    },
}

/// Asks a Service whether it is the product.
pub trait Probe: Sync {
    /// The client of the product.
    type Client: Send;

    fn ask(&self, candidate: &Candidate) -> impl Future<Output = Answered<Self::Client>> + Send;
}

/// Returns the Services that can be the product, the preferred one first.
pub fn of_listing(product: &Product, listing: &Listing) -> Vec<Candidate> {
    candidates(product, listing.services.iter().map(|service| &**service))
}

/// Asks the candidates, and returns the client of the most useful one; if several are equally useful, the preferred one.
pub async fn search<P: Probe>(
    product: &Product,
    listing: &Listing,
    candidates: &[Candidate],
    probe: &P,
) -> (Option<P::Client>, Found) {
    let mut found = Found {
        product: product.name.into(),
        services: u32::try_from(listing.services.len()).unwrap_or(u32::MAX),
        namespaces: listing.namespaces.clone(),
        tried: Vec::new(),
    };
    let mut best: Option<(u8, usize, P::Client)> = None;
    let (asked, rest) = candidates.split_at(candidates.len().min(MOST));
    for some in asked.chunks(AT_ONCE) {
        let answers = futures::future::join_all(some.iter().map(|candidate| probe.ask(candidate))).await;
        for (candidate, answer) in some.iter().zip(answers) {
            let at = found.tried.len();
            let (outcome, error) = match answer {
                Answered::Yes { client, worth } => {
                    if best.as_ref().is_none_or(|(held, ..)| worth > *held) {
                        best = Some((worth, at, client));
                    }
                    (if worth == 0 { Outcome::Empty } else { Outcome::Spare }, None)
                }
                Answered::No { outcome, error } => (outcome, Some(Name::from(error))),
            };
            found.tried.push(tried(candidate, outcome, error));
        }
    }
    found.tried.extend(rest.iter().map(|candidate| tried(candidate, Outcome::NotTried, None)));
    let client = best.map(|(_, at, client)| {
        if let Some(used) = found.tried.get_mut(at) {
            used.outcome = Outcome::Used;
        }
        client
    });
    (client, found)
}

fn tried(candidate: &Candidate, outcome: Outcome, error: Option<Name>) -> Tried {
    Tried {
        service: Name::from(candidate.address.to_string()),
        installation: candidate.installation.into(),
        outcome,
        error,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use pilothouse_core::domain::service::ServicePort;
    use pilothouse_core::policy::discovery::PROMETHEUS;

    use super::*;

    fn listing(namespaces: &[&str]) -> Listing {
        let service = |namespace: &&str| {
            Arc::new(Service {
                namespace: Name::from(*namespace),
                name: "prometheus-server".into(),
                ports: [ServicePort { name: "http".into(), port: 80, https: false }].into(),
                ..Service::default()
            })
        };
        Listing { services: namespaces.iter().map(service).collect(), namespaces: Vec::new() }
    }

    /// Answers by the name of the namespace: `data`, `empty`, or a failure.
    struct Script(Mutex<Vec<String>>);

    impl Probe for Script {
        type Client = String;

        async fn ask(&self, candidate: &Candidate) -> Answered<String> {
            let namespace = candidate.address.namespace();
            self.0.lock().unwrap().push(namespace.to_owned());
            let client = namespace.to_owned();
            match namespace.split('-').nth(1) {
                Some("traffic") => Answered::Yes { client, worth: 2 },
                Some("data") => Answered::Yes { client, worth: 1 },
                Some("empty") => Answered::Yes { client, worth: 0 },
                _ => Answered::No { outcome: Outcome::Failed, error: "refused".into() },
            }
        }
    }

    async fn searched(namespaces: &[&str]) -> (Option<String>, Vec<Outcome>, usize) {
        let (listing, script) = (listing(namespaces), Script(Mutex::default()));
        let candidates = of_listing(&PROMETHEUS, &listing);
        let (client, found) = search(&PROMETHEUS, &listing, &candidates, &script).await;
        assert_eq!(found.services as usize, namespaces.len());
        let asked = script.0.lock().unwrap().len();
        (client, found.tried.iter().map(|tried| tried.outcome).collect(), asked)
    }

    #[tokio::test]
    async fn the_most_useful_one_is_chosen_and_then_the_preferred_one() {
        use Outcome::{Empty, Failed, NotTried, Spare, Used};
        for (namespaces, client, outcomes) in [
            (&["a-data", "b-data"][..], Some("a-data"), &[Used, Spare][..]),
            (&["a-empty", "b-data"], Some("b-data"), &[Empty, Used]),
            (&["a-data", "b-traffic"], Some("b-traffic"), &[Spare, Used]),
            (&["a-down", "b-empty"], Some("b-empty"), &[Failed, Used]),
            (&["a-down"], None, &[Failed]),
            (&[], None, &[]),
        ] {
            let (found, tried, _) = searched(namespaces).await;
            assert_eq!((found.as_deref(), tried.as_slice()), (client, outcomes), "{namespaces:?}");
        }
        let many: Vec<String> = (0..12).map(|n| format!("{n:02}-down")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let (_, tried, asked) = searched(&many).await;
        assert_eq!((asked, tried.iter().filter(|outcome| **outcome == NotTried).count()), (MOST, 12 - MOST));
    }
}

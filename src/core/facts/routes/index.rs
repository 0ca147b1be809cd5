//! Keeps [`Routes`] up to date. A changed route is judged again together with those that it can depend on: the routes
//! that name the same Services, and those that share a path with it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::{About, Routes, told};
use crate::domain::id::{Name, Uid};
use crate::domain::route::{Host, Route};
use crate::facts::reduce::Delta;

/// What two routes can have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Common {
    Service(Host),
    /// The namespace of Ingresses, and the hash of their host and path.
    Path(Name, u64),
}

/// All routes, by what they name.
#[derive(Debug, Default)]
pub struct RouteIndex {
    routes: HashMap<Uid, Arc<Route>>,
    naming: HashMap<Common, Vec<Uid>>,
    told: Arc<Routes>,
}

fn named(route: &Route) -> impl Iterator<Item = Common> {
    let rules = || route.rules.iter();
    let targets = rules().flat_map(|rule| rule.targets.iter()).map(|target| &target.host);
    let services = targets.chain(route.roots.iter()).map(|host| Common::Service(host.clone()));
    let paths =
        rules().filter(|rule| rule.at != 0).map(|rule| Common::Path(route.namespace.clone(), rule.at));
    services.chain(paths)
}

impl RouteIndex {
    /// What the routes say of each Service.
    pub fn told(&self) -> &Arc<Routes> {
        &self.told
    }

    /// Adds, replaces and removes routes. Returns true if they say something else of a Service.
    pub fn update<'d>(&mut self, deltas: impl Iterator<Item = &'d Delta<Route>>) -> bool {
        let mut changed: Vec<Common> = Vec::new();
        for delta in deltas {
            if let Some(old) = &delta.old {
                changed.extend(named(old));
                self.remove(&old.uid);
            }
            if let Some(new) = &delta.new {
                changed.extend(named(new));
                self.remove(&new.uid);
                self.add(new);
            }
        }
        if changed.is_empty() {
            return false;
        }
        let mut reached: HashSet<Common> = HashSet::new();
        let mut routes: HashMap<&Uid, &Arc<Route>> = HashMap::new();
        while let Some(common) = changed.pop() {
            for uid in self.naming.get(&common).into_iter().flatten() {
                if let Some(route) = self.routes.get(uid).filter(|_| !routes.contains_key(uid)) {
                    changed.extend(named(route).filter(|common| !reached.contains(common)));
                    routes.insert(uid, route);
                }
            }
            reached.insert(common);
        }
        let mut told = told(routes.into_values().collect());
        let services = reached.iter().filter_map(|common| match common {
            Common::Service(host) => Some((host, told.remove(host))),
            Common::Path(..) => None,
        });
        let differs =
            |(host, about): &(&Host, Option<About>)| self.told.own(host).map(AsRef::as_ref) != about.as_ref();
        let others: Vec<(&Host, Option<About>)> = services.filter(differs).collect();
        let is_other = !others.is_empty();
        if is_other {
            let routes = Arc::make_mut(&mut self.told);
            for (host, about) in others {
                routes.set(host, about);
            }
        }
        is_other
    }

    fn add(&mut self, route: &Arc<Route>) {
        self.routes.insert(route.uid.clone(), route.clone());
        for common in named(route) {
            let uids = self.naming.entry(common).or_default();
            if !uids.contains(&route.uid) {
                uids.push(route.uid.clone());
            }
        }
    }

    fn remove(&mut self, uid: &Uid) {
        let Some(route) = self.routes.remove(uid) else { return };
        for common in named(&route) {
            if let Some(uids) = self.naming.get_mut(&common) {
                uids.retain(|held| held != uid);
                if uids.is_empty() {
                    self.naming.remove(&common);
                }
            }
        }
    }
}

/// What these routes say.
#[cfg(test)]
pub fn of(routes: &[Arc<Route>]) -> Arc<Routes> {
    let mut index = RouteIndex::default();
    let deltas: Vec<_> = routes.iter().map(|route| Delta { old: None, new: Some(route.clone()) }).collect();
    index.update(deltas.iter());
    index.told
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::id::{Kind, Version};
    use crate::domain::route::{Balancer, RouteRule, Target};

    /// A route from bits: few Services and few paths, so that the routes have much in common.
    fn route(uid: u8, bits: u64) -> Arc<Route> {
        let pick = |from: u32, n: u64| (bits >> from) % n;
        let host = |at: u64| Host {
            namespace: ["shop", "blog"][usize::from(at == 4)].into(),
            name: ["a", "b", "c", "*", "d"][at as usize].into(),
        };
        let kinds =
            [Kind::Ingress, Kind::HTTPRoute, Kind::VirtualService, Kind::DestinationRule, Kind::Canary];
        let kind = kinds[pick(0, 5) as usize].clone();
        let rule = |from: u32| RouteRule {
            at: if kind == Kind::Ingress { pick(from, 3) } else { 0 },
            conditional: pick(from + 2, 4) == 0,
            targets: (0..pick(from + 4, 3))
                .map(|n| Target {
                    host: host(pick(from + 6 + 3 * n as u32, 5)),
                    weight: pick(from + 12, 3) as u32,
                    foreign: pick(from + 14, 8) == 0,
                    subset: None,
                })
                .collect(),
            rest: (kind == Kind::Ingress && pick(from + 18, 2) == 0).then_some(80),
        };
        Arc::new(Route {
            uid: Uid::Uuid(u128::from(uid)),
            version: Version(bits),
            namespace: ["shop", "blog"][usize::from(uid.is_multiple_of(5))].into(),
            name: format!("route-{}", pick(3, 4)).into(),
            roots: (0..pick(5, 2)).map(|_| host(pick(6, 5))).collect(),
            rules: (0..pick(9, 3)).map(|n| rule(10 + 22 * n as u32)).collect(),
            balancers: (0..pick(7, 2)).map(|_| Balancer::default()).collect(),
            kind,
            ..Route::default()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2_000, ..ProptestConfig::default() })]

        #[test]
        fn what_is_told_step_by_step_is_what_all_routes_tell_together(
            steps in prop::collection::vec((0..8u8, prop::option::weighted(0.8, any::<u64>()), any::<bool>()), 1..30)
        ) {
            let (mut index, mut held) = (RouteIndex::default(), HashMap::<u8, Arc<Route>>::new());
            let mut deltas = Vec::new();
            for (uid, bits, is_update) in steps {
                let new = bits.map(|bits| route(uid, bits));
                let old = match &new {
                    Some(new) => held.insert(uid, new.clone()),
                    None => held.remove(&uid),
                };
                deltas.push(Delta { old, new });
                if is_update {
                    let before = index.told.clone();
                    let is_other = index.update(std::mem::take(&mut deltas).iter());
                    let all: Vec<Arc<Route>> = held.values().cloned().collect();
                    prop_assert_eq!(&index.told, &of(&all));
                    prop_assert_eq!(is_other, before != index.told);
                    prop_assert_eq!(is_other, !Arc::ptr_eq(&before, &index.told));
                }
            }
            let gone: Vec<_> = held.into_values().map(|old| Delta { old: Some(old), new: None }).collect();
            index.update(deltas.iter().chain(&gone));
            prop_assert_eq!(&*index.told, &Routes::default());
            prop_assert!(index.routes.is_empty() && index.naming.is_empty());
        }
    }

    #[test]
    fn a_changed_route_leaves_the_other_services_as_they_are() {
        let rule = |names: [&str; 2]| RouteRule {
            targets: names
                .map(|name| Target {
                    host: Host { namespace: "shop".into(), name: name.into() },
                    weight: 1,
                    ..Target::default()
                })
                .into(),
            ..RouteRule::default()
        };
        let route = |uid: u128, names: [&str; 2]| {
            Arc::new(Route { uid: Uid::Uuid(uid), rules: [rule(names)].into(), ..Route::default() })
        };
        let (one, other) = (route(1, ["a", "b"]), route(2, ["c", "d"]));
        let mut index = RouteIndex::default();
        let new =
            |old: Option<&Arc<Route>>, new: &Arc<Route>| Delta { old: old.cloned(), new: Some(new.clone()) };
        index.update([new(None, &one), new(None, &other)].iter());
        let before = index.told().clone();
        assert!(index.update([new(Some(&one), &route(1, ["a", "e"]))].iter()));
        let about = |routes: &Arc<Routes>, name: &str| {
            let host = Host { namespace: "shop".into(), name: name.into() };
            routes.about(&host)[0].cloned()
        };
        assert!(about(&before, "b").is_some() && about(index.told(), "b").is_none());
        assert_ne!(about(&before, "a"), about(index.told(), "a"));
        let (kept, held) = (about(&before, "c").unwrap(), about(index.told(), "c").unwrap());
        assert!(Arc::ptr_eq(&kept, &held));
    }
}

//! The routes by the Services that they name, so that nobody has to look through all routes for one Service.

mod index;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

pub use self::index::RouteIndex;
#[cfg(test)]
pub use self::index::of;
use crate::domain::id::{Kind, Name};
use crate::domain::kinds::ROUTES;
use crate::domain::route::{Host, Route, RouteRule, Target};

/// What the routes of a cluster say of each Service, by namespace and name. [`RouteIndex`] keeps it up to date.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routes {
    /// Snapshots share the namespaces, so that a changed route copies only its own.
    namespaces: HashMap<Name, Arc<HashMap<Name, Arc<About>>>>,
}

/// What the routes say of one Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// The splits of whose targets it is one, or whose root it is. The ones that count most come first.
    pub splits: Vec<Arc<Split>>,
    /// The objects that say how its backends are chosen, or define its subsets. The ones that count most come first.
    pub balancers: Vec<Arc<Route>>,
}

/// A rule that distributes requests over several targets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Split {
    /// `HTTPRoute shop/web`
    pub route: Name,
    pub roots: Arc<[Host]>,
    pub targets: Arc<[Target]>,
    /// Other rules send requests to some of the targets in another way.
    pub partial: bool,
    /// Its weights can be changed by a failover plan.
    pub shiftable: bool,
}

impl Split {
    /// The sum of the weights of all parts.
    pub fn total(&self) -> u32 {
        self.targets.iter().fold(0, |sum, t| sum.saturating_add(t.weight))
    }
}

/// True if both rules give each target of the first one the same share.
fn agree(one: &[Target], other: &[Target]) -> bool {
    let sum = |targets: &[Target], of: &dyn Fn(&Target) -> bool| -> u64 {
        targets.iter().filter(|t| of(t)).map(|t| u64::from(t.weight)).sum()
    };
    let (of_one, of_other) = (sum(one, &|_| true), sum(other, &|_| true));
    one.iter().filter(|t| !t.foreign).all(|t| {
        let same = |held: &Target| !held.foreign && held.host == t.host && held.subset == t.subset;
        sum(one, &same) * of_other == sum(other, &same) * of_one
    })
}

/// The kinds in the order in which they count. What proxies act on comes before what a controller reports.
const ORDER: [Kind; 7] = [
    Kind::DestinationRule,
    Kind::VirtualService,
    Kind::HTTPRoute,
    Kind::TraefikService,
    Kind::Ingress,
    Kind::Rollout,
    Kind::Canary,
];

fn place(kind: &Kind) -> usize {
    ORDER.iter().position(|k| k == kind).unwrap_or(ORDER.len())
}

/// One rule with its route, while the index is built.
struct Ruled<'a> {
    route: &'a Arc<Route>,
    conditional: bool,
    targets: Arc<[Target]>,
}

impl Routes {
    /// What the routes say of a Service, from the objects that name it to those that name all Services.
    pub fn about(&self, host: &Host) -> [Option<&Arc<About>>; 3] {
        let of = |namespace: &str, name: &str| self.namespaces.get(namespace)?.get(name);
        [of(&host.namespace, &host.name), of(&host.namespace, "*"), of("*", "*")]
    }

    fn own(&self, host: &Host) -> Option<&Arc<About>> {
        self.namespaces.get(&host.namespace)?.get(&host.name)
    }

    /// Replaces what the routes say of a Service. `None` removes it.
    fn set(&mut self, host: &Host, about: Option<About>) {
        let services = Arc::make_mut(self.namespaces.entry(host.namespace.clone()).or_default());
        if let Some(about) = about {
            services.insert(host.name.clone(), Arc::new(about));
        } else {
            services.remove(&host.name);
            if services.is_empty() {
                self.namespaces.remove(&host.namespace);
            }
        }
    }
}

/// Returns what these routes say of the Services that they name.
fn told(mut all: Vec<&Arc<Route>>) -> HashMap<Host, About> {
    all.sort_by(|a, b| {
        let key = |r: &&Arc<Route>| place(&r.kind);
        key(a)
            .cmp(&key(b))
            .then_with(|| (&a.namespace, &a.name, &a.uid).cmp(&(&b.namespace, &b.name, &b.uid)))
    });
    let rules = rules(&all);
    let mut services: HashMap<Host, About> = HashMap::new();
    // rules by their targets, of the Services that are part of a split
    let mut split: HashSet<&Host> = HashSet::new();
    for rule in rules.iter().filter(|rule| rule.is_split()) {
        split.extend(rule.targets.iter().filter(|t| !t.foreign).map(|t| &t.host));
    }
    let mut named: HashMap<&Host, Vec<usize>> = HashMap::new();
    for (i, rule) in rules.iter().enumerate() {
        // the target of a DestinationRule gets no requests from it
        let sends = rule.route.kind != Kind::DestinationRule;
        for target in rule.targets.iter().filter(|t| sends && split.contains(&t.host)) {
            named.entry(&target.host).or_default().push(i);
        }
    }
    for rule in rules.iter().filter(|rule| rule.is_split() && !rule.conditional) {
        let others = rule.targets.iter().filter_map(|t| named.get(&t.host)).flatten();
        let partial = others.filter_map(|i| rules.get(*i)).any(|other| {
            // a controller reports what the other objects do, so it is no other way
            place(&other.route.kind) <= place(&Kind::Ingress)
                && (other.conditional || !agree(&rule.targets, &other.targets))
        });
        let own = Arc::new(Split {
            route: rule.route.to_string().into(),
            roots: rule.route.roots.clone(),
            targets: merged(&rule.targets),
            partial,
            shiftable: ROUTES.contains(&rule.route.kind),
        });
        let targets = own.targets.iter().filter(|t| !t.foreign).map(|t| &t.host);
        let hosts: HashSet<&Host> = targets.chain(own.roots.iter()).collect();
        for host in hosts {
            services.entry(host.clone()).or_default().splits.push(own.clone());
        }
    }
    for route in all.iter().filter(|r| !r.balancers.is_empty() || !r.subsets.is_empty()) {
        let hosts: HashSet<&Host> =
            route.rules.iter().flat_map(|rule| rule.targets.iter()).map(|t| &t.host).collect();
        for host in hosts {
            services.entry(host.clone()).or_default().balancers.push((*route).clone());
        }
    }
    for (host, about) in &mut services {
        // of two objects of a kind, the one beside the Service counts
        about.balancers.sort_by_key(|r| (place(&r.kind), r.namespace != host.namespace));
    }
    services
}

impl Ruled<'_> {
    fn is_split(&self) -> bool {
        self.targets.len() > 1
    }
}

/// All rules. The rule of a canary's Ingress is joined with the one of the Ingress that it belongs to.
fn rules<'a>(all: &[&'a Arc<Route>]) -> Vec<Ruled<'a>> {
    let is_canary = |rule: &RouteRule| rule.rest.is_some() || (rule.conditional && rule.at != 0);
    let weighted = all.iter().flat_map(|r| r.rules.iter().map(|rule| (&r.namespace, rule)));
    let weighted: HashSet<(&Name, u64)> = weighted
        .filter(|(_, rule)| rule.rest.is_some() && rule.at != 0)
        .map(|(ns, rule)| (ns, rule.at))
        .collect();
    let mut mains: HashMap<(&Name, u64), &RouteRule> = HashMap::new();
    for route in all {
        for rule in route.rules.iter().filter(|rule| !is_canary(rule)) {
            if weighted.contains(&(&route.namespace, rule.at)) {
                mains.entry((&route.namespace, rule.at)).or_insert(rule);
            }
        }
    }
    let mut out = Vec::new();
    for route in all {
        for rule in route.rules.iter() {
            let key = (&route.namespace, rule.at);
            let conditional = rule.conditional;
            match (rule.rest, mains.get(&key)) {
                (Some(rest), Some(main)) => {
                    let main = main.targets.iter().map(|t| Target { weight: rest, ..t.clone() });
                    let targets = main.chain(rule.targets.iter().cloned()).collect();
                    // requests with the header are in addition to the weight
                    if conditional {
                        out.push(Ruled { route, conditional, targets: rule.targets.clone() });
                    }
                    out.push(Ruled { route, conditional: false, targets });
                }
                // of a rule with a weighted canary, only the joined one counts
                (None, Some(_)) if !is_canary(rule) => {}
                _ => out.push(Ruled { route, conditional, targets: rule.targets.clone() }),
            }
        }
    }
    out
}

/// The targets with each Service and subset once.
fn merged(targets: &[Target]) -> Arc<[Target]> {
    let mut out: Vec<Target> = Vec::with_capacity(targets.len());
    for target in targets {
        match out.iter_mut().find(|t| t.host == target.host && t.subset == target.subset) {
            Some(held) => held.weight = held.weight.saturating_add(target.weight),
            None => out.push(target.clone()),
        }
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::Uid;

    fn host(name: &str) -> Host {
        Host { namespace: "shop".into(), name: name.into() }
    }

    fn rule(targets: &[(&str, u32)]) -> RouteRule {
        let target =
            |(name, weight): &(&str, u32)| Target { host: host(name), weight: *weight, ..Target::default() };
        RouteRule { targets: targets.iter().map(target).collect(), ..RouteRule::default() }
    }

    fn route(kind: Kind, name: &str, rules: Vec<RouteRule>) -> Arc<Route> {
        Arc::new(Route {
            uid: Uid::parse(&format!("{kind} {name}")),
            kind,
            namespace: "shop".into(),
            name: name.into(),
            rules: rules.into(),
            ..Route::default()
        })
    }

    /// The splits of a Service as `ROUTE weight…`, with `!` if they are partial.
    fn splits(routes: &[Arc<Route>], service: &str) -> Vec<String> {
        let index = of(routes);
        let told = |s: &Arc<Split>| {
            let weights: Vec<String> = s.targets.iter().map(|t| t.weight.to_string()).collect();
            format!("{} {}{}", s.route, weights.join(":"), if s.partial { "!" } else { "" })
        };
        let about = index.about(&host(service)).into_iter().flatten();
        about.flat_map(|about| about.splits.iter().map(told)).collect()
    }

    #[test]
    fn what_proxies_act_on_comes_before_what_a_controller_reports() {
        let two = || vec![rule(&[("a", 90), ("b", 10)])];
        let routes = [
            route(Kind::Rollout, "web", vec![rule(&[("a", 80), ("b", 20)])]),
            route(Kind::HTTPRoute, "web", two()),
            route(Kind::VirtualService, "web", two()),
        ];
        let told = ["VirtualService shop/web 90:10", "HTTPRoute shop/web 90:10", "Rollout shop/web 80:20!"];
        assert_eq!(splits(&routes, "a"), told);
        assert_eq!(splits(&routes, "c"), [""; 0]);
    }

    #[test]
    fn a_share_is_partial_if_other_rules_send_requests_in_another_way() {
        let header = RouteRule { conditional: true, ..rule(&[("b", 1)]) };
        for (more, partial) in [
            (vec![], false),
            (vec![rule(&[("a", 9), ("b", 1)])], false),
            (vec![rule(&[("a", 1)])], true),
            (vec![header], true),
            (vec![rule(&[("other", 1)])], false),
        ] {
            let rules = std::iter::once(rule(&[("a", 90), ("b", 10)])).chain(more.clone()).collect();
            let told = splits(&[route(Kind::HTTPRoute, "web", rules)], "b");
            assert_eq!(told.first().unwrap().ends_with('!'), partial, "{more:?}: {told:?}");
        }
    }

    #[test]
    fn a_canary_of_an_ingress_shares_the_requests_of_the_same_path() {
        let at = |at: u64, rule: RouteRule| RouteRule { at, ..rule };
        let main = route(Kind::Ingress, "web", vec![at(7, rule(&[("a", 1)])), at(8, rule(&[("a", 1)]))]);
        let canary = |conditional| {
            let rule = RouteRule { rest: Some(80), conditional, ..at(7, rule(&[("b", 20)])) };
            route(Kind::Ingress, "web-canary", vec![rule])
        };
        let other = route(Kind::Ingress, "other", vec![at(8, rule(&[("c", 1)]))]);
        // the other path of a goes to a alone
        assert_eq!(
            splits(&[main.clone(), canary(false), other.clone()], "b"),
            ["Ingress shop/web-canary 80:20!"]
        );
        let one = route(Kind::Ingress, "web", vec![at(7, rule(&[("a", 1)]))]);
        assert_eq!(splits(&[one.clone(), canary(false)], "a"), ["Ingress shop/web-canary 80:20"]);
        assert_eq!(splits(&[one, canary(true), other], "b"), ["Ingress shop/web-canary 80:20!"]);
    }

    #[test]
    fn a_service_named_twice_in_a_rule_counts_once() {
        let routes = [route(Kind::TraefikService, "web", vec![rule(&[("a", 1), ("b", 1), ("a", 2)])])];
        assert_eq!(splits(&routes, "a"), ["TraefikService shop/web 3:1"]);
    }
}

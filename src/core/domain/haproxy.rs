//! HAProxies whose servers can be changed through the runtime API.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::id::{ClusterId, Kind, Name, ObjectRef, Uid};

/// One `[haproxy.NAME]` of the config.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HaproxySettings {
    pub name: Name,
    /// The path of the stats socket; empty: the address.
    pub socket: String,
    /// `HOST:PORT` of the runtime API.
    pub address: String,
    /// The Services (namespace and name) that the backends of this HAProxy stand for, by the name of the backend.
    pub backends: BTreeMap<String, (Name, Name)>,
}

/// The name of the preset whose traffic is that of a HAProxy.
pub const PRESET: &str = "haproxy";

/// The state that an administrator gives to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ServerState {
    Ready,
    /// It finishes its sessions and gets no new ones.
    Drain,
    /// It gets no requests, and is not checked.
    Maintenance,
}

impl ServerState {
    pub const ALL: [Self; 3] = [Self::Ready, Self::Drain, Self::Maintenance];

    /// As the runtime API spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Drain => "drain",
            Self::Maintenance => "maint",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

/// The greatest weight of a server.
pub const MOST_WEIGHT: u32 = 256;

/// The pointers to the fields of a server.
pub const WEIGHT: &str = "/spec/weight";
pub const STATE: &str = "/spec/state";

/// The change of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ServerChange {
    Weight(u32),
    State(ServerState),
}

/// The kind of the objects that stand for servers.
const KIND: &str = "HAProxyServer";

/// Returns true for the kind of the objects that stand for servers of a HAProxy. They are no objects of Kubernetes.
pub fn is_server(kind: &Kind) -> bool {
    matches!(kind, Kind::Other(name) if name == KIND)
}

/// A server of a backend of a HAProxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerRef {
    /// The name in the config.
    pub haproxy: Name,
    pub backend: Name,
    pub server: Name,
}

impl ServerRef {
    /// Returns the object that stands for the server. `namespace` is that of its Service, whose protection applies.
    pub fn object(&self, cluster: ClusterId, namespace: &Name) -> ObjectRef {
        let name = Name::from(format!("{}/{}/{}", self.haproxy, self.backend, self.server));
        let uid = Uid::Text(Name::from(format!("haproxy {name}")));
        ObjectRef::new(cluster, Kind::Other(KIND.into()), namespace, &name, &uid)
    }

    /// Returns the server that an object stands for. A name that could end a command is no server.
    pub fn of(object: &ObjectRef) -> Option<Self> {
        let mut parts = object.name.splitn(3, '/');
        let (haproxy, backend, server) = (parts.next()?, parts.next()?, parts.next()?);
        let valid = |name: &str| {
            !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.:".contains(c))
        };
        (is_server(&object.kind) && valid(backend) && valid(server)).then(|| Self {
            haproxy: haproxy.into(),
            backend: backend.into(),
            server: server.into(),
        })
    }
}

/// Returns the HAProxy and the backend that a Service or a proxy of the Traffic pane is: by the `backends` of the config;
/// else, if there is one HAProxy, the backend of the same name, or `NAMESPACE_NAME`.
pub fn backend_of<'s>(
    settings: &'s [HaproxySettings],
    namespace: &str,
    name: &str,
) -> Option<(&'s Name, Name)> {
    let is = |(ns, service): &(Name, Name)| *ns == *namespace && *service == *name;
    let named = settings.iter().find_map(|one| {
        let (backend, _) = one
            .backends
            .iter()
            .find(|(backend, service)| is(service) || (namespace.is_empty() && backend.as_str() == name))?;
        Some((&one.name, Name::from(backend.as_str())))
    });
    named.or_else(|| match settings {
        [only] if namespace.is_empty() => Some((&only.name, Name::from(name))),
        [only] => Some((&only.name, Name::from(format!("{namespace}_{name}")))),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_known_by_its_object() {
        let server =
            ServerRef { haproxy: "edge".into(), backend: "shop_checkout".into(), server: "a.1".into() };
        let object = server.object(ClusterId(0), &"shop".into());
        assert_eq!(ServerRef::of(&object), Some(server));
        for name in ["edge/a", "edge/a/b; shutdown", "edge/a b/c", "edge//c", "edge/a/b\nc", "edge/a/b/c"] {
            assert_eq!(ServerRef::of(&ObjectRef { name: name.into(), ..object.clone() }), None, "{name}");
        }
        let pod = ObjectRef { kind: Kind::Pod, ..object };
        assert_eq!(ServerRef::of(&pod), None);
    }

    #[test]
    fn the_backend_of_a_service() {
        let of = |name: &str, backends: &[(&str, &str, &str)]| HaproxySettings {
            name: name.into(),
            backends: backends
                .iter()
                .map(|(b, ns, n)| ((*b).to_owned(), ((*ns).into(), (*n).into())))
                .collect(),
            ..HaproxySettings::default()
        };
        let one = [of("edge", &[("front", "shop", "web")])];
        let two = [of("edge", &[("front", "shop", "web")]), of("inner", &[("db", "data", "db")])];
        let found = |all: &[HaproxySettings], ns: &str, name: &str| {
            backend_of(all, ns, name).map(|(haproxy, backend)| format!("{haproxy}/{backend}"))
        };
        assert_eq!(found(&one, "shop", "web").as_deref(), Some("edge/front"));
        assert_eq!(found(&one, "", "cart").as_deref(), Some("edge/cart"));
        assert_eq!(found(&one, "shop", "cart").as_deref(), Some("edge/shop_cart"));
        assert_eq!(found(&two, "data", "db").as_deref(), Some("inner/db"));
        assert_eq!(found(&two, "", "front").as_deref(), Some("edge/front"));
        assert_eq!(found(&two, "", "cart"), None, "two HAProxies, and neither names it");
        assert_eq!(found(&[], "", "cart"), None);
    }
}

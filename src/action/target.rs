//! The object of a headless action as the user typed it: `deploy/checkout`, `shop/deploy/checkout`, or only a name if
//! one kind is possible.

use pilothouse_core::domain::id::{ClusterId, Kind, Name, ObjectRef, Uid};
use pilothouse_core::domain::near::meant;
use pilothouse_core::plan::resource;

/// Where a typed object is: its cluster, and the namespace if none is typed.
#[derive(Clone, Debug)]
pub struct Place {
    pub cluster: ClusterId,
    pub namespace: Name,
    /// Whether the namespace was requested with `-n`, so that no object may name another one.
    pub asked: bool,
}

/// The kinds that actions work on, the most frequent first.
const KINDS: [Kind; 7] = [
    Kind::Deployment,
    Kind::StatefulSet,
    Kind::DaemonSet,
    Kind::ReplicaSet,
    Kind::Pod,
    Kind::Node,
    Kind::HorizontalPodAutoscaler,
];

fn kind_of(word: &str) -> Option<Kind> {
    Kind::from_word(word).filter(|kind| resource(kind).is_some())
}

fn no_kind(word: &str) -> String {
    let words: Vec<String> =
        KINDS.iter().flat_map(|kind| [kind.short(), kind.as_str().to_lowercase()]).collect();
    let meant = meant(word, words.iter().map(String::as_str));
    format!("{word:?} is not a kind that this can act on: deploy, sts, ds{meant}")
}

/// Returns the object that a text names: `KIND/NAME` or `NAMESPACE/KIND/NAME`. If only `expected` is possible, `NAME`
/// and `NAMESPACE/NAME` are also accepted.
pub fn target(text: &str, place: &Place, expected: Option<&Kind>) -> Result<ObjectRef, String> {
    let parts: Vec<&str> = text.split('/').collect();
    let (namespace, kind, name) = match (parts.as_slice(), expected) {
        ([name], Some(kind)) => (None, kind.clone(), *name),
        ([_], None) => {
            return Err(format!(
                "{text:?} is not KIND/NAME, for example deploy/checkout or shop/deploy/checkout"
            ));
        }
        ([first, name], Some(expected)) => match kind_of(first) {
            Some(kind) => (None, kind, *name),
            None => (Some(*first), expected.clone(), *name),
        },
        ([first, name], None) => {
            let kind = kind_of(first);
            let why = || format!("{}; with a namespace: {first}/deploy/{name}", no_kind(first));
            (None, kind.ok_or_else(why)?, *name)
        }
        ([namespace, word, name], _) => {
            (Some(*namespace), kind_of(word).ok_or_else(|| no_kind(word))?, *name)
        }
        _ => return Err(format!("{text:?} is not NAMESPACE/KIND/NAME, for example shop/deploy/checkout")),
    };
    if let Some(expected) = expected.filter(|expected| **expected != kind) {
        let short = expected.short();
        return Err(format!(
            "{text:?} names a {kind}, and this is for a {expected}: {name}, {short}/{name} or NAMESPACE/{short}/{name}"
        ));
    }
    let valid = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
    for part in [Some(name), namespace].into_iter().flatten() {
        if part.is_empty() || !part.bytes().all(valid) {
            return Err(format!("{part:?} is not a name: lower-case letters, digits, - and . only"));
        }
    }
    let namespace = match namespace {
        Some(named) if place.asked && place.namespace != *named => {
            return Err(format!("{text:?} is in namespace {named}, and -n says {}", place.namespace));
        }
        Some(named) => named.into(),
        None => place.namespace.clone(),
    };
    Ok(ObjectRef::new(place.cluster, kind, &namespace, &name.into(), &Uid::default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(text: &str, expected: Option<&Kind>, asked: bool) -> Result<String, String> {
        let place = Place { cluster: ClusterId(0), namespace: "here".into(), asked };
        target(text, &place, expected).map(|object| object.to_string())
    }

    #[test]
    fn what_the_screens_show_can_be_typed_back() {
        let hpa = Kind::HorizontalPodAutoscaler;
        for (text, expected, want) in [
            ("deploy/checkout", None, "here/deploy/checkout"),
            ("shop/deploy/checkout", None, "shop/deploy/checkout"),
            ("cart", Some(&hpa), "here/hpa/cart"),
            ("hpa/cart", Some(&hpa), "here/hpa/cart"),
            ("shop/cart", Some(&hpa), "shop/hpa/cart"),
            ("shop/hpa/cart", Some(&hpa), "shop/hpa/cart"),
            ("shop/p-1", Some(&Kind::Pod), "shop/pod/p-1"),
        ] {
            assert_eq!(typed(text, expected, false).as_deref(), Ok(want), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_says_how_to_write_it() {
        let hpa = Kind::HorizontalPodAutoscaler;
        for (text, expected, words) in [
            ("checkout", None, "deploy/checkout or shop/deploy/checkout"),
            ("shop/checkout", None, "shop/deploy/checkout"),
            ("deploi/checkout", None, "did you mean deploy?"),
            ("shop/deploi/checkout", None, "did you mean deploy?"),
            ("deploy/cart", Some(&hpa), "names a Deployment, and this is for a HorizontalPodAutoscaler"),
            ("a/b/c/d", None, "NAMESPACE/KIND/NAME"),
            ("deploy/", None, "is not a name"),
            ("/deploy/x", None, "is not a name"),
        ] {
            let why = typed(text, expected, false).unwrap_err();
            assert!(why.contains(words), "{text}: {why}");
        }
        assert!(typed("shop/deploy/x", None, true).unwrap_err().contains("-n says here"));
        assert_eq!(typed("here/deploy/x", None, true).as_deref(), Ok("here/deploy/x"));
    }
}

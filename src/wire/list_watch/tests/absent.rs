//! A kind whose API the server does not have, and a user who may not list it.

use super::*;

#[tokio::test]
async fn an_api_that_does_not_exist_is_not_denied() {
    for (discovery, installed) in [(refuse(404, "404 page not found"), false), (ok("{}"), true)] {
        let script = vec![refuse(403, "no"), refuse(403, "no"), discovery];
        let (reported, asked) = run_at("/apis/mesh.example/v1/things", script, |reported| {
            let is_told =
                |s: &Reported| matches!(s, Reported::Rows(Batch::Denied { .. } | Batch::NotInstalled));
            reported.iter().any(is_told)
        })
        .await;
        assert_eq!(asked.get(2).map(String::as_str), Some("/apis/mesh.example/v1"), "{asked:?}");
        let denied = reported.iter().any(|s| matches!(s, Reported::Rows(Batch::Denied { .. })));
        assert_eq!(denied, installed, "{reported:?}");
    }
}

/// A gateway may answer with an error of its own for an API that the server does not have.
#[tokio::test]
async fn an_api_that_does_not_exist_may_fail_in_any_way() {
    for (discovery, installed) in [(refuse(404, "404 page not found"), false), (ok("{}"), true)] {
        let script = vec![refuse(502, "bad gateway"), refuse(502, "bad gateway"), discovery, ok(LIST)];
        let (reported, asked) = run_at("/apis/mesh.example/v1/things", script, |reported| {
            ends(reported) == 1 || reported.iter().any(|s| matches!(s, Reported::Rows(Batch::NotInstalled)))
        })
        .await;
        assert_eq!(asked.get(2).map(String::as_str), Some("/apis/mesh.example/v1"), "{asked:?}");
        assert_eq!(ends(&reported) == 1, installed, "{reported:?}");
    }
}

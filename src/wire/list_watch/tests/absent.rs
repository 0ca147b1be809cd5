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

#[tokio::test]
async fn an_api_that_is_not_there_is_no_fault_and_is_found_when_it_comes() {
    let page = "<html>404 page not found";
    let (reported, _) = run_at("/apis/x/v1/things", vec![refuse(404, page)], |reported| {
        statuses(reported).iter().any(|s| s.state == SourceState::NotInstalled)
    })
    .await;
    assert!(reported.iter().any(|s| matches!(s, Reported::Rows(Batch::NotInstalled))));
    assert!(statuses(&reported).iter().all(|s| !s.state.is_trouble()));
    // an API that every Kubernetes server has is not reported as "not installed"
    let (reported, _) =
        run_at("/api/v1/things", vec![refuse(404, page)], |reported| statuses(reported).len() > 1).await;
    let down = statuses(&reported)[1];
    assert!(matches!(down.state, SourceState::Down { .. }) && down.lasting, "{down:?}");
    assert!(down.error.as_deref().unwrap().starts_with("404, no Kubernetes API answers"), "{down:?}");
}

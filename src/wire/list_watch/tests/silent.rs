//! A server that accepts connections and answers nothing.

use super::*;

#[tokio::test]
async fn a_request_without_an_answer_is_told_with_the_heartbeat_and_sent_again_when_that_recovers() {
    let (heart, pulse) = watch::channel(Pulse::default());
    let server = serve(vec![ok(LIST), String::new()]).await;
    let mut asked = server.asked.clone();
    // how often the rows were said to be late, and then to be current
    let (tell, mut told) = watch::channel(0);
    let stale = |reported: &[Reported]| -> Vec<bool> {
        let since = |one: &Reported| match one {
            Reported::Rows(Batch::Stale { since }) => Some(since.is_some()),
            _ => None,
        };
        reported.iter().filter_map(since).collect()
    };
    let beats = async {
        asked.wait_for(|asked| asked.len() == 2).await.unwrap();
        heart.send_modify(|held| held.lost = Some("no answer within 6 s".into()));
        told.wait_for(|times| *times == 1).await.unwrap();
        heart.send_modify(|held| held.lost = None);
        std::future::pending().await
    };
    let done = |reported: &[Reported]| tell.send_replace(stale(reported).len()) == 2;
    let (reported, asked) = tokio::select! {
        ended = run_beating(pulse, "/all", server, |_| (), done) => ended,
        never = beats => never,
    };
    assert_eq!(stale(&reported), [true, false], "{reported:?}");
    let is_told = |one: &Reported| {
        matches!(one, Reported::Status(status)
            if matches!(status.state, SourceState::Stale { .. })
                && status.error.as_deref().is_some_and(|why| why.contains("no answer within 6 s")))
    };
    assert!(reported.iter().any(is_told), "{reported:?}");
    let watches = asked.iter().filter(|path| path.contains("watch=1")).count();
    assert_eq!((asked.len(), watches), (3, 2), "{asked:?}");
    assert_eq!(ends(&reported), 1, "no list is needed: {asked:?}");
}

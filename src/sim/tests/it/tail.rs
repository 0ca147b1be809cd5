//! Follows Loki's lines over a real websocket.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use futures::{SinkExt as _, StreamExt as _};
use pilothouse_sim::resources::Res;
use pilothouse_sim::scenario::Scenario;
use pilothouse_sim::server::{Options, Sim};
use pilothouse_sim::world::App;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::observe::joined;
use crate::stage::{Stage, steady};

const PATIENCE: Duration = Duration::from_secs(20);
const PATH: &str = "/loki-gateway/loki/api/v1/tail";

/// Two pods of `pay` and one of `cart`, which say only what the test has them say.
struct Quiet {
    stage: Stage,
    addr: String,
    task: JoinHandle<()>,
}

impl Drop for Quiet {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Quiet {
    async fn start() -> Self {
        let mut stage = Stage::new();
        stage.service("pay", 2, steady(0.0), App::default());
        stage.service("cart", 1, steady(0.0), App::default());
        stage.run(2);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        let router = stage.observe.router();
        #[allow(clippy::disallowed_methods, reason = "the test owns the task and ends it")]
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { stage, addr, task }
    }

    fn uid(&self, pod: &str) -> String {
        self.stage.store.get(Res::Pods, "shop", pod).unwrap().uid().to_owned()
    }

    /// A pod says something, so many seconds ago.
    fn say(&self, pod: &str, ago: i64, text: &str) {
        let at = self.stage.store.clock().now() - TimeDelta::seconds(ago);
        self.stage.logs.append(&self.uid(pod), "app", at, text.to_owned());
    }

    async fn follow(&self, pairs: &[(&str, &str)]) -> Follower {
        Follower::to(&self.addr, pairs).await.unwrap()
    }
}

struct Follower(WebSocketStream<TcpStream>);

impl Follower {
    async fn to(addr: &str, pairs: &[(&str, &str)]) -> Result<Self, Error> {
        let stream = TcpStream::connect(addr).await.unwrap();
        let url = format!("ws://{addr}{PATH}?{}", joined(pairs));
        client_async(url, stream).await.map(|(socket, _)| Self(socket))
    }

    async fn message(&mut self) -> Option<Message> {
        tokio::time::timeout(PATIENCE, self.0.next()).await.unwrap().and_then(Result::ok)
    }

    async fn frame(&mut self) -> Value {
        loop {
            if let Message::Text(text) = self.message().await.expect("the server has closed") {
                let frame: Value = serde_json::from_str(&text).unwrap();
                assert_eq!(frame["dropped_entries"], json!([]));
                return frame;
            }
        }
    }

    /// The pod and the text of so many lines, and never more of them.
    async fn lines(&mut self, n: usize) -> Vec<String> {
        let mut all: Vec<(i64, String)> = Vec::new();
        while all.len() < n {
            let frame = self.frame().await;
            for stream in frame["streams"].as_array().unwrap() {
                let labels = &stream["stream"];
                let (pod, app) = (labels["pod"].as_str().unwrap(), labels["app"].as_str().unwrap());
                assert!(pod.starts_with(app), "{labels}");
                for value in stream["values"].as_array().unwrap() {
                    let (at, text) = (value[0].as_str().unwrap(), value[1].as_str().unwrap());
                    all.push((at.parse().unwrap(), format!("{pod} {text}")));
                }
            }
        }
        assert_eq!(all.len(), n, "{all:?}");
        all.sort_by_key(|(at, _)| *at);
        all.into_iter().map(|(_, line)| line).collect()
    }
}

#[tokio::test]
async fn lines_from_before_and_from_now_on() {
    let mut it = Quiet::start().await;
    it.say("pay-0", 7200, "too old");
    it.say("pay-0", 60, "error one");
    it.say("pay-1", 50, "error two");
    it.say("pay-1", 40, "all is well");
    it.say("cart-0", 30, "error of another");
    let mut tail = it.follow(&[("query", "{app=\"pay\"} |= \"error\"")]).await;
    let first = tail.frame().await;
    let at = it.stage.store.clock().now() - TimeDelta::seconds(60);
    assert_eq!(
        first["streams"],
        json!([
            {"stream": {"app": "pay", "container": "app", "job": "shop/pay", "namespace": "shop",
                "node_name": "node-0", "pod": "pay-0"},
             "values": [[at.timestamp_nanos_opt().unwrap().to_string(), "error one"]]},
            {"stream": {"app": "pay", "container": "app", "job": "shop/pay", "namespace": "shop",
                "node_name": "node-1", "pod": "pay-1"},
             "values": [[(at + TimeDelta::seconds(10)).timestamp_nanos_opt().unwrap().to_string(), "error two"]]},
        ])
    );
    it.say("cart-0", 0, "error of another");
    it.say("pay-1", 0, "error three");
    it.say("pay-1", 0, "all is well");
    assert_eq!(tail.lines(1).await, ["pay-1 error three"]);

    // Across a restart, however much was said since.
    it.say("pay-0", 3, "error before");
    it.stage.logs.restart(&it.uid("pay-0"), "app");
    for n in 0..5 {
        it.say("pay-0", 2, &format!("error after {n}"));
    }
    let all = tail.lines(6).await;
    assert_eq!((all[0].as_str(), all[5].as_str()), ("pay-0 error before", "pay-0 error after 4"));

    // A pod that was not there when following began.
    it.stage.pod("pay-2", "pay", "v1", "node-0", json!({}));
    it.stage.run(2);
    it.say("pay-2", 0, "error of a young one");
    assert_eq!(tail.lines(1).await, ["pay-2 error of a young one"]);
}

#[tokio::test]
async fn the_start_and_the_limit_hold_for_what_is_there() {
    let it = Quiet::start().await;
    for n in 0..30 {
        it.say(if n % 2 == 0 { "pay-0" } else { "pay-1" }, 100 - n, &format!("line {n}"));
    }
    let start = (it.stage.store.clock().now() - TimeDelta::seconds(95)).timestamp_nanos_opt().unwrap();
    let start = start.to_string();
    let query = ("query", "{app=\"pay\"}");
    let mut all = it.follow(&[query, ("start", &start)]).await;
    let lines = all.lines(25).await;
    assert_eq!((lines[0].as_str(), lines[24].as_str()), ("pay-1 line 5", "pay-1 line 29"));
    let mut few = it.follow(&[query, ("limit", "4")]).await;
    assert_eq!(
        few.lines(4).await,
        ["pay-0 line 26", "pay-1 line 27", "pay-0 line 28", "pay-1 line 29"],
        "the newest, the oldest of them first"
    );
    for n in 0..9 {
        it.say("pay-0", 9 - n, &format!("new {n}"));
    }
    assert_eq!(few.lines(9).await.len(), 9, "the limit is none for what comes");
}

#[tokio::test]
async fn a_delay_holds_young_lines_back() {
    let it = Quiet::start().await;
    it.say("pay-0", 3, "old");
    it.say("pay-0", 1, "young");
    let mut tail = it.follow(&[("query", "{app=\"pay\"}"), ("delay_for", "2")]).await;
    assert_eq!(tail.lines(1).await, ["pay-0 old"]);
    it.stage.store.clock().advance(TimeDelta::seconds(1));
    assert_eq!(tail.lines(1).await, ["pay-0 young"]);
}

#[tokio::test]
async fn what_cannot_be_followed_is_refused_in_words() {
    let it = Quiet::start().await;
    let good = ("query", "{app=\"pay\"}");
    for (pairs, words) in [
        (vec![("query", "{app=")], "parse error at line 1"),
        (vec![("query", "rate({app=\"pay\"}[1m])")], "only log selector is supported"),
        (vec![good, ("delay_for", "6")], "delay_for can't be greater than 5"),
        (vec![good, ("delay_for", "x")], "strconv.Atoi: parsing \"x\""),
        (vec![good, ("limit", "0")], "limit must be a positive value"),
        (vec![good, ("start", "soon")], "could not parse 'start'"),
    ] {
        let Err(Error::Http(answer)) = Follower::to(&it.addr, &pairs).await else { panic!("{pairs:?}") };
        assert_eq!(
            (answer.status().as_u16(), answer.headers()["content-type"].to_str().unwrap()),
            (400, "text/plain; charset=utf-8")
        );
        let body = answer.into_body().unwrap();
        let body = String::from_utf8_lossy(&body);
        assert!(body.contains(words), "{body}");
    }
    drop(rustls::crypto::ring::default_provider().install_default());
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let (code, body) = crate::answer(http.get(format!("http://{}{PATH}?{}", it.addr, joined(&[good])))).await;
    assert_eq!((code, body), (400, json!("Bad Request\n")), "no upgrade");
}

#[tokio::test]
async fn the_socket_lives_as_sockets_do() {
    let it = Quiet::start().await;
    let query = [("query", "{app=\"pay\"}")];
    let mut tail = it.follow(&query).await;
    tail.0.send(Message::Ping("are you there".into())).await.unwrap();
    let (mut answered, mut asked) = (false, false);
    while !(answered && asked) {
        match tail.message().await.unwrap() {
            Message::Pong(what) => answered = what == "are you there",
            Message::Ping(_) => asked = true,
            other => panic!("{other:?}"),
        }
    }
    tail.0.close(None).await.unwrap();
    while let Some(message) = tail.message().await {
        assert!(matches!(message, Message::Close(_) | Message::Ping(_)), "{message:?}");
    }
}

#[tokio::test]
async fn so_many_may_follow_and_no_more() {
    let it = Quiet::start().await;
    let mut all = Vec::new();
    for _ in 0..10 {
        all.push(it.follow(&[("query", "{app=\"pay\"}")]).await);
    }
    let mut last = it.follow(&[("query", "{app=\"pay\"}")]).await;
    let Some(Message::Close(Some(why))) = last.message().await else { panic!() };
    assert_eq!(u16::from(why.code), 1011);
    assert_eq!(why.reason, "max concurrent tail requests limit exceeded, count > limit (11 > 10)");
    it.say("pay-0", 0, "to all of them");
    for tail in &mut all {
        assert_eq!(tail.lines(1).await, ["pay-0 to all of them"]);
    }
}

#[tokio::test]
async fn following_ends_with_the_server() {
    let mut bare = Scenario::load("bare").unwrap();
    bare.history = Duration::from_secs(1);
    let running = Sim::start(Options::new(bare)).await.unwrap();
    let logs = Arc::downgrade(&running.logs);
    let addr = running.addr.to_string();
    let query = [("query", "{app=\"nobody\"}")];
    let mut cut = Follower::to(&addr, &query).await.unwrap();
    running.control().down.send_replace(true);
    while cut.message().await.is_some() {}
    running.control().down.send_replace(false);
    let again = async {
        loop {
            if TcpStream::connect(&addr).await.is_ok() {
                return Follower::to(&addr, &query).await.unwrap();
            }
            tokio::task::yield_now().await;
        }
    };
    let mut tail = tokio::time::timeout(PATIENCE, again).await.unwrap();
    running.stop().await;
    while tail.message().await.is_some() {}
    let gone = async {
        while logs.strong_count() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("somebody still reads the logs");
}

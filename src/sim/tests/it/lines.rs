//! Application logs show normal traffic, and errors only when something is wrong.

use std::sync::Arc;

use chrono::TimeDelta;
use pilothouse_sim::logs::{LogBook as _, Notebook};
use pilothouse_sim::resources::Res;
use pilothouse_sim::world::{App, Format, Id, NodeTrouble, Version};

use crate::stage::{Stage, calling, steady};

fn text(stage: &Stage, pod: &str) -> Vec<String> {
    let uid = stage.store.get(Res::Pods, "shop", pod).unwrap().uid().to_owned();
    let page = stage.logs.read(&uid, "app", false, 0, 5000).unwrap_or_default();
    assert!(page.lines.windows(2).all(|pair| pair[0].at <= pair[1].at), "in order of time");
    page.lines.iter().map(|line| String::from_utf8_lossy(&line.text).into_owned()).collect()
}

fn light(log: Format) -> App {
    App { cpu_ms_per_request: 0.5, log, ..App::default() }
}

const FORMATS: [(&str, Format); 6] = [
    ("json", Format::Json),
    ("logfmt", Format::Logfmt),
    ("klog", Format::Klog),
    ("nginx", Format::Nginx),
    ("java", Format::Java),
    ("plain", Format::Plain),
];

#[test]
fn nothing_is_wrong_and_nobody_says_so() {
    let mut stage = Stage::new();
    for (app, format) in FORMATS {
        stage.service(app, 2, steady(20.0), light(format));
    }
    stage.run(120);
    let mut lines = 0;
    for (app, _) in FORMATS {
        for pod in ["0", "1"] {
            let all = text(&stage, &format!("{app}-{pod}"));
            lines += all.len();
            let wrong = all.iter().find(|line| {
                ["rror", "ERROR", "WARN", "warn", " 5", ":5"].iter().any(|word| line.contains(word))
                    && (line.contains("rror") || line.contains("ERROR") || line.contains("arn"))
            });
            assert_eq!(wrong, None, "{app}");
        }
    }
    assert!((2400..4800).contains(&lines), "about 30 a second: {lines}");
}

#[test]
fn every_format_tells_its_errors() {
    let mut stage = Stage::new();
    for (app, format) in FORMATS {
        stage.service(app, 1, steady(5.0), light(format));
        stage.world.change(|state| {
            let app = Arc::make_mut(state.apps.get_mut(&Id::new("shop", app)).unwrap());
            let version = Version {
                errors: 0.5,
                message: Some("order {id} of {ip} failed after {ms} ms".into()),
                trace: Some(
                    "java.lang.IllegalStateException: no stock\nat shop.Stock.take(Stock.java:41)".into(),
                ),
                ..Version::default()
            };
            app.versions.insert("v1".to_owned(), version);
        });
    }
    stage.run(60);
    for (app, mark) in [
        ("json", "\"level\":\"error\""),
        ("logfmt", " level=error msg=\"order "),
        ("klog", "E0304 10:0"),
        ("nginx", " [error] 29#29: *"),
        ("java", " ERROR [http-nio-8080-exec-"),
        ("plain", " ERROR order "),
    ] {
        let all = text(&stage, &format!("{app}-0"));
        let errors: Vec<&String> = all.iter().filter(|line| line.contains(mark)).collect();
        assert!(errors.len() > 20, "{app}: {all:#?}");
        assert!(
            errors.iter().all(|line| line.contains("failed after") && !line.contains('{') || app == "json")
        );
        assert_ne!(errors[0], errors[1]);
    }
    let java = text(&stage, "java-0");
    assert!(java.iter().any(|line| line == "\tat shop.Stock.take(Stock.java:41)"), "{java:#?}");
    let json: serde_json::Value = serde_json::from_str(&text(&stage, "json-0")[5]).unwrap();
    assert!(json["msg"].is_string());
}

#[test]
fn callers_name_who_failed_them_and_young_containers_say_hello() {
    let mut stage = Stage::new();
    stage.service("front", 1, steady(20.0), App { calls: calling("back", 1.0), ..light(Format::Plain) });
    stage.service("back", 2, steady(0.0), light(Format::Plain));
    stage
        .world
        .change(|state| drop(state.apps.insert(Id::new("shop", "late"), Arc::new(light(Format::Plain)))));
    let young = stage.start + TimeDelta::seconds(3);
    stage.pod_since("late", "late", "v7", "node-0", serde_json::json!({}), young);
    stage.run(10);
    let late = text(&stage, "late");
    assert_eq!(late.len(), 4);
    assert!(late[0].ends_with("INFO starting late v7"), "{late:?}");
    stage.world.change(|state| {
        drop(state.nodes.insert("node-1".into(), NodeTrouble { off: true, ..NodeTrouble::default() }));
    });
    stage.run(20);
    let said = text(&stage, "front-0");
    assert!(said.iter().any(|line| line.contains("upstream back.shop.svc timed out after 10")), "{said:#?}");
    let before = text(&stage, "back-1").len();
    stage.endpoints("back", &[]);
    stage.run(10);
    assert!(
        text(&stage, "front-0").iter().any(|line| line.contains("no healthy upstream for back.shop.svc"))
    );
    assert_eq!(text(&stage, "back-1").len(), before, "a machine that is off writes nothing");
}

#[test]
fn all_logs_together_have_a_bound() {
    let book = Notebook::bounded(1000, 100_000);
    let at = pilothouse_sim::clock::parse("2026-03-04T10:00:00Z").unwrap();
    for n in 0..20_000 {
        book.append(&format!("pod-{}", n % 40), "app", at, format!("line {n} {}", "x".repeat(50)));
        assert!(book.bytes() <= 100_000);
    }
    let page = book.read("pod-3", "app", false, 0, 1000).unwrap();
    assert!(page.lines.len() > 5, "{}", page.lines.len());
    assert_eq!(page.lines.last().unwrap().seq, 499);
    for n in 0..40 {
        book.forget(&format!("pod-{n}"));
    }
    assert_eq!(book.bytes(), 0);
}

//! Headless commands for several clusters: one document each, read at the same time, and no action for more than one.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::answers::{server, whole};

/// A kubeconfig with a context for each of these servers, in a home of its own.
struct Clusters {
    home: tempfile::TempDir,
}

/// A context: its name, its port, and the credential plugin of its user.
struct Context<'a>(&'a str, u16, Option<&'a str>);

impl Clusters {
    fn new(contexts: &[Context<'_>]) -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut file = json!({"clusters": [], "users": [], "contexts": [], "current-context": contexts[0].0});
        let mut add = |list: &str, entry: Value| file[list].as_array_mut().unwrap().push(entry);
        for Context(name, port, plugin) in contexts {
            // no credential is sent over http, so no plugin would run
            let scheme = if plugin.is_some() { "https" } else { "http" };
            let cluster =
                json!({"server": format!("{scheme}://127.0.0.1:{port}"), "insecure-skip-tls-verify": true});
            add("clusters", json!({"name": name, "cluster": cluster}));
            let user = match plugin {
                Some(script) => json!({"exec": {
                    "apiVersion": "client.authentication.k8s.io/v1", "interactiveMode": "Never",
                    "command": "sh", "args": ["-c", script],
                }}),
                None => json!({"token": "t"}),
            };
            add("users", json!({"name": name, "user": user}));
            let context = json!({"cluster": name, "user": name, "namespace": "shop"});
            add("contexts", json!({"name": name, "context": context}));
        }
        std::fs::write(home.path().join("kubeconfig"), file.to_string()).unwrap();
        Self { home }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = program(&self.home);
        command.args(args).arg("--kubeconfig").arg(self.home.path().join("kubeconfig"));
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    fn config(&self, text: &str) {
        let folder = self.home.path().join(".config/pilothouse");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("config.toml"), text).unwrap();
    }
}

fn program(home: &tempfile::TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pilothouse"));
    command
        .env("HOME", home.path())
        .env_remove("XDG_CONFIG_HOME")
        .env_remove("XDG_STATE_HOME")
        .env_remove("KUBECONFIG")
        .env_remove("PILOTHOUSE_PROMETHEUS");
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The documents on standard output, one a line, by context.
fn documents(output: &Output) -> BTreeMap<String, Value> {
    let documents =
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>();
    let context = |doc: &Value| {
        let context = doc["context"].as_str().or_else(|| doc["cluster"]["context"].as_str());
        context.unwrap_or_else(|| panic!("{doc}")).to_owned()
    };
    let by_context: BTreeMap<String, Value> =
        documents.iter().map(|doc| (context(doc), doc.clone())).collect();
    assert_eq!(by_context.len(), documents.len(), "one document a cluster");
    by_context
}

fn well() -> u16 {
    server(|_, _| None)
}

/// A server with one node.
fn of_a_node() -> u16 {
    let node = json!({
        "kind": "Node", "apiVersion": "v1",
        "metadata": {"name": "n1", "uid": "u1", "resourceVersion": "4", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {}, "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    })
    .to_string();
    server(move |path, _| {
        let is_node = path.split('?').next() == Some("/api/v1/nodes/n1");
        is_node.then(|| whole("200 OK", "content-type: application/json\r\n", &node))
    })
}

/// A server that accepts connections and says nothing.
fn silent() -> u16 {
    server(|_, _| {
        loop {
            std::thread::park();
        }
    })
}

/// A server that refuses everybody.
fn refusing() -> u16 {
    server(|_, _| {
        Some(whole("401 Unauthorized", "", r#"{"kind":"Status","code":401,"reason":"Unauthorized"}"#))
    })
}

/// A port that nobody listens on.
fn down() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn each_cluster_has_a_document_and_a_line() {
    let clusters = Clusters::new(&[Context("one", well(), None), Context("two", well(), None)]);
    for args in [
        &["why", "-o", "json"][..],
        &["snapshot", "-o", "json"],
        &["get", "nodes", "-o", "json"],
        &["doctor", "-o", "json"],
    ] {
        let both = clusters.run(&[args, &["--context", "one", "--context", "two"]].concat());
        let contexts: Vec<String> = documents(&both).into_keys().collect();
        assert_eq!(contexts, ["one", "two"], "{args:?}: {}", text(&both.stderr));
        let alone = clusters.run(&[args, &["--context", "two"]].concat());
        assert_eq!(both.status, alone.status, "{args:?}");
        assert_eq!(documents(&alone).into_keys().collect::<Vec<_>>(), ["two"]);
    }
    // texts have a heading each, and one alone has none
    for args in [&["why"][..], &["snapshot"], &["get", "nodes"], &["doctor"]] {
        let both = text(&clusters.run(&[args, &["--context", "*"]].concat()).stdout);
        let mut heads: Vec<&str> = both.lines().filter(|line| line.starts_with("=== ")).collect();
        heads.sort_unstable();
        assert_eq!(heads, ["=== one", "=== two"], "{args:?}: {both}");
        let alone = text(&clusters.run(&[args, &["--context", "one", "--context", "one"]].concat()).stdout);
        assert!(!alone.contains("==="), "{args:?}: {alone}");
    }
}

#[test]
fn a_cluster_in_trouble_delays_no_other_and_is_named() {
    let clusters = Clusters::new(&[
        Context("silent", silent(), None),
        Context("refusing", refusing(), None),
        Context("down", down(), None),
        Context("keyless", well(), Some("echo no card in the reader >&2; exit 1")),
        Context("waiting", well(), Some("sleep 600")),
        Context("well", well(), None),
    ]);
    let mut child = clusters
        .command(&["why", "--context", "*", "--wait", "8s", "-o", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // a thread of its own, or a full pipe of standard error would stop the program
    let out = child.stdout.take().unwrap();
    let read =
        std::thread::spawn(move || BufReader::new(out).lines().map(Result::unwrap).collect::<Vec<_>>());
    let said = child.wait_with_output().unwrap();
    let (mut docs, mut order) = (BTreeMap::new(), Vec::new());
    for line in read.join().unwrap() {
        let doc: Value = serde_json::from_str(&line).unwrap();
        let context = doc["cluster"]["context"].as_str().unwrap().to_owned();
        order.push(context.clone());
        docs.insert(context, doc);
    }
    let at = |context: &str| order.iter().position(|one| one == context);
    for late in ["silent", "waiting"] {
        assert!(at("well") < at(late), "it does not wait for {late}: {order:?}");
    }
    let err = text(&said.stderr);
    assert_eq!(said.status.code(), Some(2), "the worst of them: {err}");
    assert_eq!(docs.len(), 6, "{docs:#?}");
    for (context, has_error) in
        [("silent", false), ("refusing", false), ("down", false), ("keyless", true), ("waiting", true)]
    {
        let doc = &docs[context];
        assert_eq!(doc["error"].is_string(), has_error, "{context}: {doc}");
        assert!(
            has_error || doc["not_seen"].as_array().is_some_and(|not| !not.is_empty()),
            "{context}: {doc}"
        );
        let prefix = format!("pilothouse: {context}: ");
        assert!(err.lines().any(|line| line.starts_with(&prefix)), "{context}: {err}");
    }
    assert!(docs["keyless"]["error"].as_str().unwrap().contains("no card in the reader"), "{docs:#?}");
    assert!(docs["waiting"]["error"].as_str().unwrap().contains("--wait"), "{docs:#?}");
    assert_eq!(docs["well"]["not_seen"], json!([]));
    assert!(!err.contains("pilothouse: well: "), "{err}");
    // as a text
    let said = clusters.run(&["why", "--context", "well", "--context", "keyless", "--context", "down"]);
    let out = text(&said.stdout);
    let of = |context: &str| part(&out, context);
    assert!(of("well").contains(crate::answers::WELL), "{out}");
    assert!(of("keyless").starts_with("NOT SEEN: ") && of("down").starts_with("NOT SEEN: "), "{out}");
}

#[test]
fn an_action_changes_one_cluster_and_nothing_is_asked_before_that_is_known() {
    let asked = Arc::new(AtomicU32::new(0));
    let counting = || {
        let asked = asked.clone();
        server(move |_, _| {
            asked.fetch_add(1, Ordering::SeqCst);
            None
        })
    };
    let ran = tempfile::tempdir().unwrap();
    let plugin = format!("touch {}/plugin; exit 1", ran.path().display());
    let clusters = Clusters::new(&[
        Context("eu-1", counting(), None),
        Context("eu-2", counting(), Some(&plugin)),
        Context("us-1", counting(), None),
    ]);
    clusters.config("[clusters.europe]\ncontexts = [\"eu-*\"]\n");
    let actions: [&[&str]; 7] = [
        &["cordon", "n1"],
        &["drain", "n1"],
        &["drain", "--zone", "a"],
        &["restart", "deploy/web"],
        &["scale", "deploy/web", "--replicas", "0"],
        &["evict", "web-1"],
        &["failover", "zone/a"],
    ];
    for action in actions {
        for (contexts, names) in [
            (&["--context", "eu-1", "--context", "us-1"][..], "there are 2 (eu-1, us-1)"),
            (&["--context", "europe"], "there are 2 (eu-1, eu-2)"),
            (&["--context", "*"], "there are 3 (eu-1, eu-2, us-1)"),
        ] {
            let said = clusters.run(&[action, contexts, &["--yes"]].concat());
            let err = text(&said.stderr);
            assert_eq!(said.status.code(), Some(2), "{action:?} {contexts:?}: {err}");
            assert!(err.contains(names) && err.contains("an action changes one cluster"), "{err}");
            assert_eq!(text(&said.stdout), "");
        }
    }
    assert_eq!(asked.load(Ordering::SeqCst), 0, "no request was sent");
    assert!(!ran.path().join("plugin").exists(), "no credential was asked for");
    // one context that is named twice is one cluster
    let said = clusters.run(&["cordon", "n1", "--context", "eu-1", "--context", "eu-1", "--dry-run"]);
    assert!(!text(&said.stderr).contains("an action changes one cluster"), "{said:?}");
    assert!(asked.load(Ordering::SeqCst) > 0);
}

#[test]
fn a_failover_plan_is_carried_out_in_its_own_cluster_only() {
    let clusters = Clusters::new(&[
        Context("eu-1", of_a_node(), None),
        Context("eu-2", of_a_node(), None),
        Context("us-1", of_a_node(), None),
    ]);
    clusters.config(
        "[failover.rack]\nkind = \"evacuate\"\nnodes = [\"n1\"]\n\
         [failover.eu]\nkind = \"evacuate\"\nin_context = \"eu-*\"\nnodes = [\"n1\"]\n\
         [failover.one]\nkind = \"evacuate\"\nin_context = \"eu-1\"\nnodes = [\"n1\"]\n\
         [failover.dr]\nkind = \"standby\"\ncontext = \"eu-2\"\nworkloads = [\"deploy/shop/web\"]\n",
    );
    for (plan, context, why) in [
        ("rack", "us-1", None),
        ("eu", "eu-1", None),
        ("eu", "eu-2", None),
        ("eu", "us-1", Some("plan eu is for context eu-*, not us-1: name one that matches with --context")),
        ("one", "us-1", Some("failover plan one is for context eu-1, not us-1: name it with --context")),
        (
            "dr",
            "eu-2",
            Some("goes over to eu-2, so it cannot begin there: name the cluster to leave with --context"),
        ),
    ] {
        let said = clusters.run(&["failover", plan, "--dry-run", "-o", "json", "--context", context]);
        let err = text(&said.stderr);
        let Some(why) = why else {
            let planned: Value =
                serde_json::from_slice(&said.stdout).unwrap_or_else(|e| panic!("{e}: {said:?}"));
            let copied = planned["kubectl"].as_str().unwrap();
            assert!(copied.contains(&format!("--context {context}")), "{plan}: {copied}");
            continue;
        };
        assert_eq!((said.status.code(), text(&said.stdout)), (Some(2), String::new()), "{plan}: {err}");
        assert!(err.contains(why), "{err}");
    }
    // doctor checks each plan in the clusters that it is for
    let docs = documents(&clusters.run(&["doctor", "-o", "json", "--context", "*", "--wait", "3s"]));
    let plans = |context: &str| {
        let plans = docs[context]["failover"].as_array().unwrap_or_else(|| panic!("{}", docs[context]));
        plans.iter().map(|plan| plan["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(plans("eu-1"), ["rack", "eu", "one", "dr"]);
    assert_eq!(plans("eu-2"), ["eu"]);
    assert_eq!(plans("us-1"), [""; 0]);
}

#[test]
fn what_the_config_says_about_no_context_is_told_and_is_no_problem() {
    let clusters = Clusters::new(&[Context("eu-1", well(), None)]);
    clusters.config(
        "[clusters.asia]\ncontexts = [\"ap-*\"]\n\
         [failover.canary]\nkind = \"evacuate\"\nin_context = \"us-9\"\nnodes = [\"n1\"]\n\
         [failover.dr]\nkind = \"standby\"\nin_context = \"eu-1\"\ncontext = \"eu-1\"\nworkloads = [\"deploy/shop/web\"]\n",
    );
    let words = [
        "failover.dr: in_context \"eu-1\" matches only the plan's own standby, where it cannot begin",
        "clusters.asia: no context matches ap-*",
        "failover.canary: in_context \"us-9\" matches no context of the kubeconfig",
    ];
    let said = clusters.run(&["config", "check"]);
    assert_eq!(said.status.code(), Some(0), "{said:?}");
    let docs = documents(&clusters.run(&["doctor", "-o", "json", "--wait", "3s"]));
    let remarks = docs["eu-1"]["config"]["remarks"].as_array().unwrap();
    for words in words {
        assert!(text(&said.stdout).contains(words), "{said:?}");
        assert!(remarks.iter().any(|r| r.as_str().unwrap().starts_with(words)), "{remarks:?}");
    }
    // a file with sets and plans that fit has no remarks
    clusters.config("[clusters.eu]\ncontexts = [\"eu-*\"]\n");
    let said = text(&clusters.run(&["config", "check"]).stdout);
    assert!(said.ends_with(": no problems\n") && said.lines().count() == 1, "{said}");
}

#[test]
fn a_key_of_the_config_that_replaces_a_default_is_told_and_is_no_problem() {
    let clusters = Clusters::new(&[Context("eu-1", well(), None)]);
    clusters.config("[ui.keys]\nzoom = [\"ctrl-t\"]\n");
    let words = "ui.keys: ^t now runs `zoom`, not `clusters` (everywhere)";
    let said = clusters.run(&["config", "check"]);
    assert_eq!(said.status.code(), Some(0), "{said:?}");
    let out = text(&said.stdout);
    assert!(out.contains(": no problems\n") && out.contains(words), "{out}");
    let docs = documents(&clusters.run(&["doctor", "-o", "json", "--wait", "3s"]));
    let doc = &docs["eu-1"];
    assert_eq!((&doc["config"]["problems"], &doc["read_only"]), (&json!([]), &json!(false)), "{doc}");
    assert!(doc["config"]["remarks"].to_string().contains(words), "{doc}");
    // two keys of the person's own contradict each other
    clusters.config("[ui.keys]\nzoom = [\"ctrl-t\"]\nclusters = [\"ctrl-t\"]\n");
    let said = clusters.run(&["config", "check"]);
    assert_eq!(said.status.code(), Some(2), "{said:?}");
    assert!(text(&said.stderr).contains("^t is bound to both `"), "{said:?}");
}

#[test]
fn what_names_no_cluster_is_told_with_what_there_is() {
    let clusters = Clusters::new(&[Context("eu-1", well(), None), Context("us-1", well(), None)]);
    clusters.config("[clusters.europe]\ncontexts = [\"eu-*\"]\n[clusters.asia]\ncontexts = [\"ap-*\"]\n");
    for args in [&["why"][..], &["logs"], &["cordon", "n1"]] {
        for (word, says) in [
            (
                "eu-2",
                "there is no context \"eu-2\"; it has eu-1, us-1; did you mean eu-1?; the config has the sets",
            ),
            ("asia", "clusters.asia of the config: no context matches ap-*; there are eu-1, us-1"),
            ("ap-*", "no context matches \"ap-*\"; there are eu-1, us-1"),
            ("eurpe", "did you mean europe?"),
        ] {
            let said = clusters.run(&[args, &["--context", "us-1", "--context", word]].concat());
            let err = text(&said.stderr);
            assert_eq!((said.status.code(), text(&said.stdout)), (Some(2), String::new()), "{word}: {err}");
            assert!(err.contains(says), "{word}: {err}");
        }
    }
}

#[test]
fn the_guards_of_a_set_are_those_of_its_clusters() {
    let clusters = Clusters::new(&[
        Context("eu-1", well(), None),
        Context("eu-audit", of_a_node(), None),
        Context("us-1", of_a_node(), None),
    ]);
    clusters.config(
        "[clusters.europe]\ncontexts = [\"eu-*\"]\nprotected = true\n[clusters.audit]\ncontexts = [\"*-audit\"]\nread_only = true\n\
         [clusters.asia]\ncontexts = [\"ap-*\"]\n[prometheus]\nurl = \"http://127.0.0.1:9\"\n",
    );
    let docs = documents(&clusters.run(&["doctor", "-o", "json", "--context", "*", "--wait", "3s"]));
    let of = |context: &str| {
        let doc = &docs[context];
        (doc["sets"].clone(), doc["read_only"].as_bool().unwrap(), doc["protected"].as_bool().unwrap())
    };
    assert_eq!(of("eu-1"), (json!(["europe"]), false, true));
    assert_eq!(of("eu-audit"), (json!(["europe", "audit"]), true, true));
    assert_eq!(of("us-1"), (json!([]), false, false));
    let remarks = |context: &str| docs[context]["config"]["remarks"].to_string();
    assert!(docs.keys().all(|context| remarks(context).contains("clusters.asia: no context matches ap-*")));
    assert!(!remarks("eu-1").contains("prometheus.url"), "the first one has it: {}", remarks("eu-1"));
    assert!(remarks("us-1").contains("prometheus.url is not used"), "{}", remarks("us-1"));
    // a read-only cluster refuses an action that another one plans
    for (context, is_refused) in [("eu-audit", true), ("us-1", false)] {
        let said = clusters.run(&["cordon", "n1", "--dry-run", "-o", "json", "--context", context]);
        let plan: Value = serde_json::from_slice(&said.stdout).unwrap_or_else(|e| panic!("{e}: {said:?}"));
        let refusals = plan["refusals"].as_array().unwrap();
        assert_eq!(
            refusals.iter().any(|refusal| refusal["code"] == "read-only"),
            is_refused,
            "{context}: {plan:#}"
        );
    }
}

#[test]
fn a_watch_of_several_ends_when_nobody_reads_on() {
    let clusters = Clusters::new(&[Context("one", well(), None), Context("two", well(), None)]);
    for output in ["json", "text"] {
        let args = ["snapshot", "--watch", "--context", "one", "--context", "two", "-o", output];
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let status = clusters.command(&args).stdout(writer).stderr(Stdio::null()).status().unwrap();
        assert_eq!(status.code(), Some(0), "{output}");
    }
    let said = clusters.run(&["why", "--context", "*"]);
    assert_eq!(said.status.code(), Some(0), "{said:?}");
    let mut command = clusters.command(&["--record", "night.jsonl", "why", "--context", "*"]);
    let said = command.current_dir(clusters.home.path()).output().unwrap();
    assert_eq!(said.status.code(), Some(2), "{said:?}");
    assert!(
        text(&said.stderr).contains("--record records one cluster")
            && !clusters.home.path().join("night.jsonl").exists()
    );
}

/// The part of a text that is about one cluster.
fn part(out: &str, context: &str) -> String {
    let lines = out.lines().skip_while(|line| *line != format!("=== {context}"));
    lines.skip(1).take_while(|line| !line.starts_with("=== ")).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_fleet_of_the_demo_tells_which_cluster_has_the_problem() {
    let home = tempfile::tempdir().unwrap();
    let demo = |args: &[&str]| program(&home).args(args).args(["--demo", "fleet"]).output().unwrap();
    let said = demo(&["why", "--wait", "60s"]);
    let out = text(&said.stdout);
    // what is passed on to others names the cluster
    let fix = "do: pilothouse rollback shop/deploy/checkout --demo fleet --context eu-1 ";
    assert!(part(&out, "eu-1").contains(fix), "{said:?}");
    let other = part(&out, "eu-2");
    assert!(
        !other.is_empty() && !other.contains("do: ") && !other.contains('✖'),
        "the release is well there: {out}"
    );
    let said = demo(&["failover", "checkout-to-eu-2", "--context", "eu-1", "--dry-run", "-o", "json"]);
    let plan: Value = serde_json::from_slice(&said.stdout).unwrap_or_else(|e| panic!("{e}: {said:?}"));
    assert_eq!(plan["refusals"], json!([]), "{plan:#}");
    let steps = plan["steps"].as_array().unwrap();
    assert!(steps.iter().any(|step| step["context"] == "eu-2"), "{plan:#}");
    let said = demo(&["logs", "deploy/checkout", "-n", "shop", "--tail", "2", "-o", "json"]);
    let lines: Vec<Value> =
        text(&said.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for context in ["eu-1", "eu-2"] {
        assert!(lines.iter().any(|line| line["context"] == context), "{context}: {said:?}");
    }
}

/// What bash is told to put in place of the last word of a line.
fn completed(clusters: &Clusters, line: &str) -> Vec<String> {
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_pilothouse")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    let script = r#"source <(pilothouse completions bash)
registered=$(complete -p pilothouse) && [[ $registered =~ -F\ ([^ ]+) ]]
COMP_LINE=$1 COMP_POINT=${#1}
read -ra COMP_WORDS <<< "$1"; [[ $1 != *\  ]] || COMP_WORDS+=("")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
"${BASH_REMATCH[1]}" pilothouse "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\n' "${COMPREPLY[@]}""#;
    let said = Command::new("bash")
        .args(["-c", script, "bash", line])
        .env("PATH", path)
        .env("HOME", clusters.home.path())
        .env("KUBECONFIG", clusters.home.path().join("kubeconfig"))
        .env_remove("XDG_CONFIG_HOME")
        .output()
        .unwrap();
    text(&said.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn contexts_and_sets_are_completed() {
    let eks = "arn:aws:eks:eu-west-1:1:cluster/shop";
    let clusters =
        Clusters::new(&[Context("eu-1", 1, None), Context("us-1", 1, None), Context(eks, 1, None)]);
    clusters.config("[clusters.europe]\ncontexts = [\"eu-*\"]\n");
    let listed = clusters.run(&["config", "contexts"]);
    assert_eq!(text(&listed.stdout), format!("{eks}\neu-1\neurope\nus-1\n"), "{listed:?}");
    for (line, names) in [
        ("pilothouse --context eu", &["eu-1", "europe"][..]),
        ("pilothouse --context ", &[eks, "eu-1", "europe", "us-1"]),
        ("pilothouse why -o json --context ar", &[eks]),
        // the rest of a word that bash ends at a colon
        ("pilothouse why --context arn:aws:e", &["eks:eu-west-1:1:cluster/shop"]),
        ("pilothouse why --context arn:aws:", &["eks:eu-west-1:1:cluster/shop"]),
        ("pilothouse --context=us", &["us-1"]),
        ("pilothouse --context x", &[""]),
        // not a context
        ("pilothouse --context eu-1 doc", &["doctor"]),
    ] {
        assert_eq!(completed(&clusters, line), names, "{line:?}");
    }
}

/// `pilothouse sim`, until it is dropped.
struct Sim {
    process: std::process::Child,
    url: String,
    audit: std::path::PathBuf,
}

impl Drop for Sim {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

impl Sim {
    fn start(home: &tempfile::TempDir, name: &str) -> Self {
        let audit = home.path().join(format!("{name}.audit"));
        let mut process = program(home)
            .args(["sim", "--scenario", "calm", "--seed", "7", "--kubeconfig-out"])
            .arg(home.path().join(name))
            .arg("--audit-out")
            .arg(&audit)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines().map(Result::unwrap);
        let url = lines.find_map(|line| line.split(" is open on ").nth(1).map(str::to_owned)).unwrap();
        std::thread::spawn(move || lines.for_each(drop));
        Self { process, url, audit }
    }

    /// Our requests since the last `n` entries of the audit log: whether there are any, and whether one is a change.
    fn seen(&self, n: &mut usize) -> (bool, bool) {
        let text = std::fs::read_to_string(&self.audit).unwrap();
        let all: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let ours = |entry: &&Value| {
            entry["userAgent"].as_str().is_some_and(|agent| agent.starts_with("pilothouse/"))
        };
        let new: Vec<&Value> = all.iter().skip(*n).filter(ours).collect();
        *n = all.len();
        let is_change = |entry: &&Value| {
            let resource = entry["objectRef"]["resource"].as_str().unwrap_or_default();
            !matches!(entry["verb"].as_str(), Some("get" | "list" | "watch"))
                && !resource.starts_with("selfsubject")
        };
        (!new.is_empty(), new.iter().any(is_change))
    }
}

#[test]
fn an_action_is_in_its_own_cluster_although_all_names_are_equal() {
    let home = tempfile::tempdir().unwrap();
    let sims = ["one", "two"].map(|name| Sim::start(&home, name));
    let cluster =
        |name: &str, url: &str| json!({"name": name, "cluster": {"server": format!("{url}/as/admin")}});
    let context = |name: &str| json!({"name": name, "context": {"cluster": name, "user": "admin", "namespace": "shop"}});
    let kubeconfig = json!({
        "clusters": [cluster("one", &sims[0].url), cluster("two", &sims[1].url)],
        "users": [{"name": "admin", "user": {"token": "admin"}}],
        "contexts": [context("one"), context("two")], "current-context": "one",
    });
    std::fs::write(home.path().join("kubeconfig"), kubeconfig.to_string()).unwrap();
    let clusters = Clusters { home };
    let names = |kind: &str| {
        let all = documents(&clusters.run(&["get", kind, "-o", "json", "--context", "*", "--wait", "60s"]));
        let of = |context: &str| -> Vec<String> {
            let rows = all[context]["rows"].as_array().unwrap();
            let mut names: Vec<String> =
                rows.iter().filter_map(|row| row["object"]["name"].as_str().map(str::to_owned)).collect();
            names.sort();
            names
        };
        assert_eq!(of("one"), of("two"), "{kind}: the names are equal");
        of("one")
    };
    let node = names("nodes").first().unwrap().clone();
    let pod = names("pods").into_iter().find(|pod| pod.starts_with("checkout-")).unwrap();
    let actions: [&[&str]; 9] = [
        &["cordon", &node],
        &["uncordon", &node],
        // no autoscaler takes it back
        &["scale", "deploy/images", "--replicas", "7"],
        &["bounds", "cart", "--max", "20"],
        &["pause-autoscaler", "cart"],
        &["resume-autoscaler", "cart"],
        &["out-of-rotation", &pod, "--service", "checkout"],
        &["into-rotation", &pod],
        &["evict", &pod],
    ];
    let mut read = [0, 0];
    let mut cordoned = String::new();
    for (own, other, name) in [(1, 0, "two"), (0, 1, "one")] {
        for action in actions {
            for (sim, read) in sims.iter().zip(&mut read) {
                sim.seen(read);
            }
            let flags = ["--yes", "--confirm", name, "-o", "json", "--context", name];
            let done = clusters.run(&[action, &flags[..]].concat());
            assert_eq!(done.status.code(), Some(0), "{action:?} in {name}: {done:?}");
            assert_eq!(sims[own].seen(&mut read[own]), (true, true), "{action:?} in {name}");
            assert_eq!(sims[other].seen(&mut read[other]), (false, false), "{action:?} in {name}");
            if action[0] == "cordon" && name == "two" {
                let done: Value = serde_json::from_slice(&done.stdout).unwrap();
                done["id"].as_str().unwrap().clone_into(&mut cordoned);
            }
        }
    }
    // an action is undone where it was done, although another context is the current one
    let said = clusters.run(&["undo", &cordoned, "--yes", "--context", "one"]);
    assert!(text(&said.stderr).contains("was done in context two"), "{said:?}");
    for (sim, read) in sims.iter().zip(&mut read) {
        sim.seen(read);
    }
    let said = clusters.run(&["undo", &cordoned, "--yes", "--dry-run"]);
    assert_eq!((sims[0].seen(&mut read[0]).0, sims[1].seen(&mut read[1]).0), (false, true), "{said:?}");
}

#[test]
fn simulated_clusters_that_are_interrupted_while_they_start_end_in_order() {
    let home = tempfile::tempdir().unwrap();
    let audit = |name: &str| home.path().join(format!("audit.{name}"));
    // the second cluster is opened when the first one is, and begins with this file
    let pipe = audit("eu-2");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let process = program(&home)
        .args(["sim", "--scenario", "fleet", "--kubeconfig-out", "k", "--audit-out"])
        .arg(home.path().join("audit"))
        .current_dir(home.path())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (opened, is_open) = std::sync::mpsc::channel();
    std::thread::spawn(move || opened.send(std::fs::File::open(pipe).unwrap()));
    let held = is_open.recv_timeout(Duration::from_secs(60)).unwrap();
    let interrupt = Command::new("kill").args(["-INT", &process.id().to_string()]).status().unwrap();
    assert!(interrupt.success());
    let said = process.wait_with_output().unwrap();
    assert_eq!(said.status.code(), Some(130), "{said:?}");
    assert_eq!(text(&said.stderr), "pilothouse: interrupted before the cluster was open\n");
    let of_first = std::fs::read_to_string(audit("eu-1")).unwrap();
    assert!(of_first.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{of_first}");
    drop(held);
}

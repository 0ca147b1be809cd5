//! The security of the journal, the folders and the outputs: who owns the files, which cluster an action belongs to,
//! which process resumes it, and that no secret is written anywhere.

use std::fmt::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pilothouse::action::executor::{Control, new_id};
use pilothouse::action::journal::{ClaimError, Follows, How, Journal, Moment, Record};
use pilothouse::action::resume;
use pilothouse_core::domain::id::Name;
use pilothouse_core::domain::plan::{Act, DrainOptions};
use pilothouse_core::facts::world::{Outcome, StepState};

use crate::crash::{WEB, dies, executor, plan};
use crate::fake::Fake;

fn follows(id: &Name) -> Follows {
    Follows { id: id.clone(), how: How::Resumed, cordoned: Vec::new() }
}

/// A drain whose process died after its first records; returns its id.
async fn dead_drain(fake: &Fake, folder: &Path) -> Name {
    let drain = plan(fake, Act::Drain(DrainOptions::default())).await;
    assert!(dies(fake, folder, &drain, 4).await);
    fake.quiet().await;
    let found = resume::unfinished(&Journal::new(folder.to_owned(), "look"));
    assert_eq!(found.len(), 1);
    found[0].id.clone()
}

#[tokio::test]
async fn an_action_ends_when_its_journal_is_deleted_or_replaced() {
    for replaced in [false, true] {
        let fake = Fake::start(5).await;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("first.jsonl");
        let done = AtomicBool::new(false);
        let probe = move |record: &Record, moment: Moment| {
            let accepted = matches!(record, Record::Step { step: 1.., state: StepState::Accepted, .. });
            if moment == Moment::After && accepted && !done.swap(true, Ordering::SeqCst) {
                std::fs::remove_file(&file).unwrap();
                if replaced {
                    std::fs::write(&file, "").unwrap();
                }
            }
        };
        let options = DrainOptions { pods_at_once: 1, ..DrainOptions::default() };
        let drain = plan(&fake, Act::Drain(options)).await;
        let journal = Journal::with_probe(folder.path().to_owned(), "first", Arc::new(probe));
        let (executor, _told) = executor(&fake, journal);
        let done = executor.run("1".into(), &drain, Control::default(), None).await;
        assert_ne!(done.outcome, Some(Outcome::Done), "{}", done.message);
        assert!(done.message.contains("written to the journal"), "{}", done.message);
        assert_eq!(fake.state.lock().unwrap().total(), 2, "the cordon and one eviction");
    }
}

#[tokio::test]
async fn one_process_takes_an_action_up() {
    let fake = Fake::start(3).await;
    let folder = tempfile::tempdir().unwrap();
    let id = dead_drain(&fake, folder.path()).await;
    let second = Journal::new(folder.path().to_owned(), "second");
    let third = Journal::new(folder.path().to_owned(), "third");
    let rest = plan(&fake, Act::Drain(DrainOptions::default())).await;
    let run = async |journal: &Journal| {
        let (mut executor, _told) = executor(&fake, journal.clone());
        executor.follows = Some(follows(&id));
        executor.run(new_id(&executor.session.clock), &rest, Control::default(), None).await
    };
    let held = second.claim(&id).unwrap();
    assert!(matches!(third.claim(&id), Err(ClaimError::Held(..))));
    let refused = run(&third).await;
    let who = format!("{id} is being resumed by PID {}", std::process::id());
    assert_eq!(refused.outcome, Some(Outcome::Refused));
    assert!(refused.message.contains(&who), "{}", refused.message);
    drop(held);
    let before = fake.state.lock().unwrap().total();
    let both = futures::future::join(Box::pin(run(&second)), Box::pin(run(&third))).await;
    let mut outcomes = [both.0.outcome, both.1.outcome];
    outcomes.sort_by_key(|o| *o != Some(Outcome::Done));
    assert_eq!(outcomes, [Some(Outcome::Done), Some(Outcome::Refused)], "{both:?}");
    let late = run(&third).await;
    assert!(late.message.contains("was resumed by"), "{}", late.message);
    let state = fake.state.lock().unwrap();
    assert!(state.applied.values().all(|n| *n == 1), "{:?}", state.applied);
    assert!(state.pods() == 0 && state.total() > before);
    drop(state);
    let left = std::fs::read_dir(folder.path()).unwrap().flatten().map(|e| e.path());
    assert!(left.into_iter().all(|path| path.extension().is_some_and(|e| e == "jsonl")), "no lock is left");
}

#[tokio::test]
async fn an_action_of_another_cluster_is_not_resumed() {
    let (meant, other) = (Fake::start(3).await, Fake::start(3).await);
    meant.state.lock().unwrap().is_cluster(801);
    other.state.lock().unwrap().is_cluster(802);
    let folder = tempfile::tempdir().unwrap();
    let id = dead_drain(&meant, folder.path()).await;
    let rest = plan(&other, Act::Drain(DrainOptions::default())).await;
    let (mut executor, _told) = executor(&other, Journal::new(folder.path().to_owned(), "second"));
    executor.follows = Some(follows(&id));
    let refused = executor.run("2".into(), &rest, Control::default(), None).await;
    assert_eq!(refused.outcome, Some(Outcome::Refused));
    assert!(refused.message.contains("context test is another cluster now"), "{}", refused.message);
    assert_eq!(other.state.lock().unwrap().total(), 0);
    // the same on the command line, before any request
    let state = folder.path().join("state");
    std::fs::create_dir_all(state.join("pilothouse")).unwrap();
    std::fs::rename(folder.path().join("first.jsonl"), state.join("first.jsonl")).unwrap();
    let journal = state.join("pilothouse/journal");
    std::fs::create_dir(&journal).unwrap();
    std::fs::rename(state.join("first.jsonl"), journal.join("first.jsonl")).unwrap();
    let said = Said::of(&other, &state, &["resume", &id, "--yes"]).await;
    assert_eq!(said.status, 3, "{said:?}");
    assert!(said.err.contains("another cluster now"), "{said:?}");
    assert_eq!(other.state.lock().unwrap().total(), 0);
    let said = Said::of(&meant, &state, &["resume", &id, "--yes"]).await;
    assert_eq!(said.status, 0, "{said:?}");
    let applied = meant.state.lock().unwrap().applied.clone();
    assert!(applied.len() == 4 && applied.values().all(|n| *n == 1), "{applied:?}");
}

/// Two clusters with the same objects and UIDs, like a cluster and its restored backup; or one cluster whose address
/// has changed. And the state folder of the user with its journal.
async fn twins() -> (Fake, Fake, tempfile::TempDir, std::path::PathBuf) {
    let (then, now) = (Fake::start(3).await, Fake::start(3).await);
    then.state.lock().unwrap().is_cluster(801);
    now.state.lock().unwrap().is_cluster(801);
    let home = tempfile::tempdir().unwrap();
    let journal = home.path().join("pilothouse/journal");
    (then, now, home, journal)
}

fn address(fake: &Fake) -> String {
    fake.connection.reader().unwrap().server().trim_start_matches("http://").trim_end_matches('/').to_owned()
}

#[tokio::test]
async fn a_cluster_at_another_address_has_to_be_confirmed_by_the_address() {
    let (then, now, home, journal) = twins().await;
    let address = address(&now);
    let id = dead_drain(&then, &journal).await;
    let first = then.state.lock().unwrap().total();
    // what the executor is handed without this confirmation is not sent
    let rest = plan(&now, Act::Drain(DrainOptions::default())).await;
    let (mut executor, _told) = executor(&now, Journal::new(journal.clone(), "second"));
    executor.follows = Some(follows(&id));
    let refused = executor.run("2".into(), &rest, Control::default(), None).await;
    assert_eq!(refused.outcome, Some(Outcome::Refused));
    assert!(refused.message.contains(&format!("the address {address}")), "{}", refused.message);
    drop(executor);
    for (args, words) in [
        (&["resume", &id, "--yes"][..], "has changed: add --confirm"),
        (&["resume", &id, "--yes", "--confirm", "test"], "is not the address of the API server"),
        (&["resume", &id, "--uncordon", "--yes"], "it cordoned no node"),
    ] {
        let said = Said::of(&now, home.path(), args).await;
        assert!(said.status == 3 && said.err.contains(words), "{said:?}");
    }
    let said = Said::of(&now, home.path(), &["resume", &id, "--dry-run", "-o", "json"]).await;
    let plan: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(plan["confirm"], "server");
    assert!(plan["warning_codes"].as_array().unwrap().contains(&"cluster-moved".into()), "{plan}");
    assert_eq!(now.state.lock().unwrap().total(), 0);
    // it is the same cluster: the user says so
    let said = Said::of(&now, home.path(), &["resume", &id, "--yes", "--confirm", &address]).await;
    assert_eq!(said.status, 0, "{said:?}");
    assert_eq!(now.state.lock().unwrap().pods(), 0);
    assert_eq!(then.state.lock().unwrap().total(), first);
}

#[tokio::test]
async fn an_undo_at_another_address_has_to_be_confirmed_by_the_address() {
    let (then, now, home, _) = twins().await;
    let scale = ["scale", "deploy/web", "-n", "shop", "--replicas", "5", "--yes"];
    for fake in [&now, &then] {
        fake.state.lock().unwrap().change(WEB, "pilothouse", &serde_json::json!({}));
        let state = if std::ptr::eq(fake, &raw const now) {
            home.path().join("other")
        } else {
            home.path().to_owned()
        };
        let said = Said::of(fake, &state, &scale).await;
        assert_eq!(said.status, 0, "{said:?}");
    }
    let said = Said::of(&then, home.path(), &["undo", "-o", "json"]).await;
    let list: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    let id = list[0]["id"].as_str().unwrap_or_else(|| panic!("{said:?}"));
    let said = Said::of(&now, home.path(), &["undo", id, "--yes"]).await;
    assert!(said.status == 3 && said.err.contains(&address(&now)), "{said:?}");
    assert_eq!(now.state.lock().unwrap().total(), 1);
    let said = Said::of(&now, home.path(), &["undo", id, "--yes", "--confirm", &address(&now)]).await;
    assert_eq!(said.status, 0, "{said:?}");
    assert_eq!(now.state.lock().unwrap().get(WEB).unwrap()["spec"]["replicas"], 3);
    // at its own address it needs no such confirmation
    let said = Said::of(&then, home.path(), &["undo", id, "--yes"]).await;
    assert_eq!(said.status, 0, "{said:?}");
}

#[tokio::test]
async fn an_action_that_looks_complete_at_another_address_is_not_closed() {
    let (then, now, home, journal) = twins().await;
    let pause = plan(&then, Act::PauseRollout).await;
    // the request was sent, and its answer was not recorded
    assert!(dies(&then, &journal, &pause, 4).await);
    then.quiet().await;
    now.state.lock().unwrap().change(WEB, "pilothouse", &serde_json::json!({"spec": {"paused": true}}));
    let open = || resume::unfinished(&Journal::new(journal.clone(), "look"));
    let id = open()[0].id.clone();
    let said = Said::of(&now, home.path(), &["resume", &id, "--yes"]).await;
    assert!(said.status == 3 && said.err.contains("if it is the same cluster"), "{said:?}");
    assert_eq!(open().len(), 1, "it is still listed");
    let said = Said::of(&now, home.path(), &["resume", &id, "--yes", "--confirm", &address(&now)]).await;
    assert!(said.status == 0 && said.err.contains("nothing is left to do"), "{said:?}");
    assert_eq!((open().len(), now.state.lock().unwrap().total()), (0, 0));
}

/// The output of a command of the binary.
#[derive(Debug)]
struct Said {
    status: i32,
    out: String,
    err: String,
}

impl Said {
    /// Runs it against this server, with the state folder `state`.
    async fn of(fake: &Fake, state: &Path, args: &[&str]) -> Self {
        let config = fake.kubeconfig().to_owned();
        Self::with(
            args,
            &config,
            &[("HOME", state.to_str().unwrap()), ("XDG_STATE_HOME", state.to_str().unwrap())],
        )
        .await
    }

    async fn with(args: &[&str], kubeconfig: &Path, env: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pilothouse"));
        command.arg("--kubeconfig").arg(kubeconfig).args(args);
        for name in
            ["XDG_CONFIG_HOME", "XDG_STATE_HOME", "PILOTHOUSE_PROMETHEUS", "PILOTHOUSE_CONFIG", "HOME"]
        {
            command.env_remove(name);
        }
        command.envs(env.iter().copied());
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { status: output.status.code().unwrap(), out: text(&output.stdout), err: text(&output.stderr) }
    }
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[tokio::test]
async fn a_journal_that_others_can_write_is_refused_in_words() {
    let fake = Fake::start(0).await;
    let home = tempfile::tempdir().unwrap();
    let said = Said::of(&fake, home.path(), &["cordon", "n1", "--yes"]).await;
    assert_eq!(said.status, 0, "{said:?}");
    let state = home.path().join("pilothouse");
    let journal = state.join("journal");
    assert_eq!((mode(&state), mode(&journal), mode(&state.join("log"))), (0o700, 0o700, 0o700));
    for folder in ["journal", "log"] {
        for file in std::fs::read_dir(state.join(folder)).unwrap().flatten() {
            assert_eq!(mode(&file.path()), 0o600, "{file:?}");
        }
    }
    // a file that is not a regular one is reported, and nothing blocks on it
    let fifo = journal.join("x.jsonl");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RWXU).unwrap();
    symlink("/dev/zero", journal.join("y.jsonl")).unwrap();
    let said = Said::of(&fake, home.path(), &["journal", "list"]).await;
    assert_eq!(said.status, 1, "{said:?}");
    assert!(
        said.out.contains("cordon node/n1") && said.err.contains("x.jsonl: it is not a regular file"),
        "{said:?}"
    );
    let said = Said::of(&fake, home.path(), &["uncordon", "n1", "--yes"]).await;
    assert_eq!(said.status, 0, "{said:?}");
    assert!(said.err.contains("y.jsonl: it is not a regular file"), "{said:?}");
    std::fs::remove_file(fifo).unwrap();
    std::fs::remove_file(journal.join("y.jsonl")).unwrap();
    // a folder of another user
    let before = fake.state.lock().unwrap().total();
    let refused = async |words: &str| {
        let said = Said::of(&fake, home.path(), &["journal", "list"]).await;
        assert!(said.status == 1 && said.out.trim().is_empty() && said.err.contains(words), "{said:?}");
        let said = Said::of(&fake, home.path(), &["cordon", "n1", "--yes"]).await;
        assert!(said.status == 3 && said.out.contains(words), "{said:?}");
        assert_eq!(fake.state.lock().unwrap().total(), before);
    };
    set_mode(&journal, 0o777);
    refused("others can write to it").await;
    set_mode(&journal, 0o700);
    std::fs::rename(&journal, state.join("elsewhere")).unwrap();
    symlink(state.join("elsewhere"), &journal).unwrap();
    refused("symbolic link").await;
}

#[tokio::test]
async fn a_record_that_is_damaged_is_told_before_the_next_action() {
    let fake = Fake::start(0).await;
    let home = tempfile::tempdir().unwrap();
    let said = Said::of(&fake, home.path(), &["cordon", "n1", "--yes"]).await;
    assert_eq!(said.status, 0, "{said:?}");
    let folder = home.path().join("pilothouse/journal");
    let file = std::fs::read_dir(&folder).unwrap().flatten().next().unwrap().path();
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replacen("\"user\"", "\"User\"", 1)).unwrap();
    let said = Said::of(&fake, home.path(), &["journal", "list"]).await;
    assert_eq!(said.status, 1, "{said:?}");
    assert!(said.err.contains("cannot be shown") && said.err.contains(file.to_str().unwrap()), "{said:?}");
    let said = Said::of(&fake, home.path(), &["uncordon", "n1", "--dry-run=client"]).await;
    assert!(said.err.contains("cannot be shown"), "{said:?}");
}

#[tokio::test]
async fn without_a_home_no_shared_folder_takes_its_place() {
    let fake = Fake::start(0).await;
    let shared = tempfile::tempdir().unwrap();
    std::fs::create_dir(shared.path().join("pilothouse")).unwrap();
    let planted = shared.path().join("pilothouse/config.toml");
    std::fs::write(planted, "[prometheus]\nurl = \"http://127.0.0.1:1/planted\"\n").unwrap();
    // a relative path counts as not set for a user without an entry in passwd
    let env = [("HOME", "none"), ("TMPDIR", shared.path().to_str().unwrap())];
    let run = async |args: &[&str]| Said::with(args, fake.kubeconfig(), &env).await;
    let said = run(&["cordon", "n1", "--yes"]).await;
    assert_eq!((said.status, fake.state.lock().unwrap().total()), (3, 0), "{said:?}");
    assert!(said.out.contains("set HOME or XDG_STATE_HOME"), "{said:?}");
    let said = run(&["journal", "list"]).await;
    assert!(said.status == 1 && said.err.contains("set HOME"), "{said:?}");
    let said = run(&["config", "print"]).await;
    assert!(said.status == 0 && !said.out.contains("planted"), "{said:?}");
    let said = run(&["cordon", "n1", "--yes", "--journal-in-memory", "test"]).await;
    assert_eq!((said.status, fake.state.lock().unwrap().total()), (0, 1), "{said:?}");
    assert!(said.err.contains("journal: {"), "{said:?}");
    let names = |path: &Path| std::fs::read_dir(path).unwrap().count();
    assert_eq!(
        (names(shared.path()), names(&shared.path().join("pilothouse"))),
        (1, 1),
        "nothing was written"
    );
}

#[tokio::test]
async fn a_disk_that_is_full_in_the_middle_stops_the_action() {
    // room for the intent and a part of the steps: the 64 KiB of the earlier check, in blocks of 512 bytes
    const BLOCKS: &str = "128";
    let fake = Fake::start(100).await;
    let home = tempfile::tempdir().unwrap();
    let (kubeconfig, state) = (fake.kubeconfig().to_owned(), home.path().to_owned());
    let output = tokio::task::spawn_blocking(move || {
        let mut command = Command::new("sh");
        let script = format!("trap '' XFSZ; ulimit -f {BLOCKS}; exec \"$0\" \"$@\"");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_pilothouse"), "--kubeconfig"]).arg(kubeconfig);
        command.args(["drain", "n1", "--yes"]).env("HOME", &state).env("XDG_STATE_HOME", &state);
        command.output().unwrap()
    });
    let output = output.await.unwrap();
    let said = format!("{output:?}");
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("cannot be written to the journal"), "{said}");
    fake.quiet().await;
    let folder = home.path().join("pilothouse/journal");
    let file = std::fs::read_dir(&folder).unwrap().flatten().next().unwrap().path();
    let text = std::fs::read_to_string(file).unwrap();
    let written = text.lines().filter(|line| line.contains("\"sending\"")).count();
    let sent = fake.state.lock().unwrap().evictions();
    assert!(sent > 3 && sent <= written && written < 300, "{sent} sent, {written} written down");
    // when there is room again, it is listed and can be resumed
    let said = Said::of(&fake, home.path(), &["journal", "list"]).await;
    assert!(said.out.contains("UNFINISHED"), "{said:?}");
    let id = said.out.split_whitespace().next().unwrap().to_owned();
    let said = Said::of(&fake, home.path(), &["resume", &id, "--yes"]).await;
    assert_eq!(said.status, 0, "{said:?}");
    let state = fake.state.lock().unwrap();
    assert!(state.pods() == 0 && state.applied.values().all(|n| *n == 1), "{:?}", state.applied);
}

/// All text of the files below a folder.
fn texts(folder: &Path, into: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            texts(&path, into);
        } else {
            write!(into, "{}: {}", path.display(), String::from_utf8_lossy(&std::fs::read(&path).unwrap()))
                .unwrap();
        }
    }
}

#[tokio::test]
async fn no_secret_is_written_anywhere() {
    const SECRET: &str = "PLANTED5ECRET";
    let encoded = "UExBTlRFRDVFQ1JFVA";
    let fake = Fake::start(1).await;
    let home = tempfile::tempdir().unwrap();
    let server = std::fs::read_to_string(fake.kubeconfig()).unwrap();
    let port = server.split("127.0.0.1:").nth(1).unwrap().split('\'').next().unwrap();
    let config = home.path().join(".config/pilothouse");
    std::fs::create_dir_all(&config).unwrap();
    std::fs::write(
        config.join("config.toml"),
        format!("[prometheus]\nurl = \"http://me:{SECRET}@127.0.0.1:{port}/prom\"\n[prometheus.headers]\nX-Key = \"{SECRET}\"\n"),
    )
    .unwrap();
    let state = home.path().join("state");
    let home_env = home.path().to_str().unwrap().to_owned();
    let env = [
        ("HOME", home_env.as_str()),
        ("XDG_STATE_HOME", state.to_str().unwrap()),
        ("PILOTHOUSE_LOG", "trace"),
        ("RUST_BACKTRACE", "1"),
    ];
    let files = tempfile::tempdir().unwrap();
    let kubeconfig = files.path().join("config");
    let mut written = String::new();
    let mut run = async |text: &str, args: &[&str]| {
        std::fs::write(&kubeconfig, text).unwrap();
        let said = Said::with(args, &kubeconfig, &env).await;
        assert!(!said.err.contains("panicked") && said.status != 101, "{said:?}");
        write!(written, "{}\n{}\n", said.out, said.err).unwrap();
        said
    };
    let of = |server: &str, user: &str| {
        format!(
            "clusters: [{{name: c, cluster: {{server: '{server}', insecure-skip-tls-verify: true}}}}]\nusers: [{{name: u, user: {{{user}}}}}]\ncontexts: [{{name: test, context: {{cluster: c, user: u}}}}]\ncurrent-context: test\n"
        )
    };
    let with_password = of(&format!("http://bob:{SECRET}@127.0.0.1:{port}"), "");
    for args in [
        &["doctor", "--wait", "1500ms"][..],
        &["doctor", "--wait", "1500ms", "-o", "json"],
        &["snapshot", "--wait", "1500ms", "-o", "json"],
        &["why", "--wait", "1500ms"],
        &["config", "print"],
        &["config", "check"],
        &["cordon", "n1", "--dry-run=client"],
        &["cordon", "n1", "--yes", "-o", "json"],
        &["journal", "list", "-o", "json"],
    ] {
        run(&with_password, args).await;
    }
    // nothing listens there: the credential is created, and the failure is reported
    let nobody = format!("https://bob:{SECRET}@127.0.0.1:1");
    let plugin = format!(
        "exec: {{apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never, command: sh, args: [-c, 'echo ''{{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"kind\":\"ExecCredential\",\"status\":{{\"token\":\"{SECRET}\"}}}}''']}}"
    );
    let token = format!("token: {SECRET}");
    for (server, user) in [
        (nobody.as_str(), ""),
        ("https://127.0.0.1:1", token.as_str()),
        ("https://127.0.0.1:1", plugin.as_str()),
        ("https://127.0.0.1:1", &format!("username: bob, password: {SECRET}")),
        (
            "https://127.0.0.1:1",
            &format!("client-certificate-data: {encoded}==, client-key-data: {encoded}=="),
        ),
    ] {
        let said = run(&of(server, user), &["why", "--wait", "1s"]).await;
        assert_ne!(said.status, 0, "{said:?}");
        run(&of(server, user), &["cordon", "n1", "--yes"]).await;
    }
    // values that are no token, no URL and no YAML
    let good = of("https://127.0.0.1:1", "");
    for broken in [
        of("https://127.0.0.1:1", &format!("token: \"{SECRET}\\n123\"")),
        of("https://127.0.0.1:1", &format!("token: \"{SECRET}\\u0001\"")),
        of(&format!("https://bob:{SECRET}@127.0.0.1:x"), ""),
        of(&format!("ftp://bob:{SECRET}@127.0.0.1"), ""),
        format!("{good}users:\n- name: u\n  user:\n    token: {SECRET}\n   client-key: x\n"),
        format!("users:\n- name: u\n  user:\n    token: *{SECRET}\n"),
        format!("users:\n- name: u\n  user:\n    token: [{SECRET}\n"),
        format!("users:\n- name: u\n  user: {SECRET}\n"),
        format!("users:\n- name: u\n  user:\n    token: {{a: {SECRET}}}\n"),
        of(
            "https://127.0.0.1:1",
            &format!("client-key-data: '{SECRET}!', client-certificate-data: '{SECRET}!'"),
        ),
    ] {
        for args in [&["why"][..], &["doctor"], &["snapshot", "-o", "json"], &["cordon", "n1", "--yes"]] {
            let said = run(&broken, args).await;
            assert_eq!(said.status, 2, "{broken}: {said:?}");
            assert!(said.err.trim().lines().count() <= 2, "{said:?}");
        }
    }
    let mut said = run(&good, &["why", "--server", &format!("https://bob:{SECRET}@127.0.0.1:x")]).await;
    assert_eq!(said.status, 2, "{said:?}");
    said = run(&good, &["why", "--token", &format!("{SECRET}\u{1}")]).await;
    assert_eq!(said.status, 2, "{said:?}");
    texts(&state, &mut written);
    assert!(
        written.contains("TRACE") && written.contains("\"crc\""),
        "the log and the journal were looked at"
    );
    for secret in [SECRET, encoded] {
        let found: Vec<&str> = written.lines().filter(|line| line.contains(secret)).collect();
        assert!(found.is_empty(), "a secret is written: {found:#?}");
    }
}

//! Lines in the formats of common loggers, and lines that only mention errors.

use super::*;
use proptest::prelude::*;

#[test]
fn levels_by_format() {
    for (line, want) in [
        (r#"{"level":"error","msg":"x"}"#, Some(Level::Error)),
        (r#"{"time":1,"level":50,"msg":"x"}"#, Some(Level::Error)),
        (r#"{"severity":"WARNING"}"#, Some(Level::Warn)),
        (r#"{"log":{"level":"fatal"}}"#, Some(Level::Fatal)),
        (r#"{"msg":"level=error"}"#, None),
        ("time=x level=warn msg=\"error\"", Some(Level::Warn)),
        ("E0102 15:04:05.123456       1 file.go:12] boom", Some(Level::Error)),
        ("<11>1 2026-01-01 host app", Some(Level::Error)),
        ("2026/01/01 00:00:00 [error] 7#7: upstream", Some(Level::Error)),
        ("2026-01-01 00:00:00,123 ERROR com.x.Y - boom", Some(Level::Error)),
        ("2026-01-01T00:00:00Z  WARN app::x: slow", Some(Level::Warn)),
        ("10.0.0.1 - - [x] \"GET / HTTP/1.1\" 502 12", Some(Level::Error)),
        ("10.0.0.1 - - [x] \"GET / HTTP/1.1\" 200 12", Some(Level::Info)),
        ("panic: runtime error: index out of range", Some(Level::Fatal)),
        ("java.lang.IllegalStateException: no", Some(Level::Error)),
        ("Traceback (most recent call last):", Some(Level::Error)),
        ("error: cannot open", Some(Level::Error)),
        ("error: null", None),
        ("requests=10 errors=0", None),
        ("processed without error", None),
        ("ERRORS=0 all good", None),
        // JSON: keys in any case, by many names
        (r#"{"Timestamp":"2026-11-28T00:00:00Z","LogLevel":"Error","Message":"x"}"#, Some(Level::Error)),
        (r#"{"Level":"Error","Message":"x"}"#, Some(Level::Error)),
        (r#"{"LEVEL":"ERROR","MSG":"x"}"#, Some(Level::Error)),
        (r#"{"loglevel":"error"}"#, Some(Level::Error)),
        (r#"{"log_level":"warn"}"#, Some(Level::Warn)),
        (r#"{"@timestamp":"x","log.level":"error","message":"x"}"#, Some(Level::Error)),
        (r#"{"message":"x","context":{},"level":400,"level_name":"ERROR"}"#, Some(Level::Error)),
        (r#"{"level":550}"#, Some(Level::Fatal)),
        (r#"{"severity":"ERROR","message":"x"}"#, Some(Level::Error)),
        (r#"{"severityText":"FATAL","body":"x"}"#, Some(Level::Fatal)),
        (r#"{"SeverityNumber":17}"#, Some(Level::Error)),
        (r#"{"levelno":40,"msg":"x"}"#, Some(Level::Error)),
        (r#"{"@l":"Error","@m":"x"}"#, Some(Level::Error)),
        (r#"{"t":{"$date":"x"},"s":"E","c":"NETWORK","msg":"x"}"#, Some(Level::Error)),
        (r#"{"t":{"$date":"x"},"s":"I","c":"NETWORK","msg":"error"}"#, Some(Level::Info)),
        (r#"{"level":"fatal","ts":"x","caller":"y","msg":"x"}"#, Some(Level::Fatal)),
        (r#"{"level":"error","msg":"cut in the mid"#, Some(Level::Error)),
        (r#"{"level":null,"severity":"error"}"#, Some(Level::Error)),
        (r#"{"error":null,"msg":"fine"}"#, None),
        (r#"{"error_count":0,"msg":"no error"}"#, None),
        (r#"{"s":"Error","msg":"x"}"#, None),
        // logfmt
        ("time=\"2026-01-01T00:00:00Z\" level=error msg=\"volume is full\"", Some(Level::Error)),
        ("ts=1 log.level=error msg=x", Some(Level::Error)),
        ("LEVEL=ERROR msg=x", Some(Level::Error)),
        ("ts=1 level=info msg=\"error budget is fine\" error=null", Some(Level::Info)),
        ("GET /x?level=error&y=1 took 3ms", None),
        // .NET
        ("fail: Shop.Payments[13]", Some(Level::Error)),
        ("crit: Shop.Host[0]", Some(Level::Fatal)),
        ("warn: Shop.Host[0]", Some(Level::Warn)),
        ("info: Shop.Host[0]", Some(Level::Info)),
        // zap console
        ("2026-01-01T00:00:00Z\terror\tsrv/main.go:1\tpoller gave up", Some(Level::Error)),
        ("2026-01-01T00:00:00.000+0100\tERROR\tsrv/main.go:1\tx", Some(Level::Error)),
        ("2026-01-01T00:00:00Z\tinfo\tsrv/main.go:1\terror\tx", Some(Level::Info)),
        // logrus and zerolog without their colours
        ("ERRO[0012] disk quota exceeded", Some(Level::Error)),
        ("FATA[0012] cannot go on", Some(Level::Fatal)),
        ("2:04PM ERR cannot reach ledger try=3", Some(Level::Error)),
        // Python
        ("ERROR:root:division by naught", Some(Level::Error)),
        ("2026-01-01 00:00:00,123 - shop - ERROR - mail is stuck", Some(Level::Error)),
        ("2026-01-01 00:00:00.123 | error    | app:run:7 - x", Some(Level::Error)),
        ("[2026-01-01 00:00:00,123: ERROR/MainProcess] task raised", Some(Level::Error)),
        ("[2026-01-01 00:00:00 +0000] [7] [CRITICAL] WORKER TIMEOUT", Some(Level::Fatal)),
        // Serilog, nginx, Apache, Envoy, Elixir, Elasticsearch, Laravel
        ("[00:00:00 ERR] tea is cold", Some(Level::Error)),
        ("[00:00:00 VRB] error", Some(Level::Trace)),
        ("2026/01/01 00:00:00 [error] 7#7: *1 connect() failed", Some(Level::Error)),
        ("nginx: [emerg] bind() to 0.0.0.0:80 failed", Some(Level::Fatal)),
        ("[Thu Jan 01 00:00:00.0 2026] [core:error] [pid 7] x", Some(Level::Error)),
        ("[2026-01-01 00:00:00.000][1][error][upstream] lost", Some(Level::Error)),
        ("00:00:00.000 [error] GenServer terminated", Some(Level::Error)),
        ("[2026-01-01T00:00:00,000][WARN ][o.e.b.Boot] [n1] x", Some(Level::Warn)),
        ("[2026-01-01T00:00:00+00:00] production.ERROR: x {\"a\":1}", Some(Level::Error)),
        // Rails, MySQL, PostgreSQL, Redis, Rust, log4j, winston, npm
        ("E, [2026-01-01T00:00:00.000000 #1] ERROR -- : rails derailed", Some(Level::Error)),
        ("2026-01-01T00:00:00.000000Z 0 [ERROR] [MY-010119] [Server] x", Some(Level::Error)),
        ("2026-01-01T00:00:00.000000Z 0 [Note] [MY-010119] error log", Some(Level::Info)),
        ("2026-01-01 00:00:00.000 UTC [42] ERROR:  relation \"t\" does not exist", Some(Level::Error)),
        ("2026-01-01 00:00:00.000 UTC [42] FATAL:  role \"x\"", Some(Level::Fatal)),
        ("2026-01-01 00:00:00.000 UTC [42] LOG:  error reporting is on", Some(Level::Info)),
        ("1:M 01 Jan 2026 00:00:00.000 # Can't save in background", Some(Level::Warn)),
        ("1:M 01 Jan 2026 00:00:00.000 * Ready to accept connections", Some(Level::Info)),
        ("[2026-01-01T00:00:00Z ERROR app::x] rust", Some(Level::Error)),
        ("2026-01-01 00:00:00,000 [main] ERROR c.x.Y - java", Some(Level::Error)),
        ("2026-01-01 00:00:00.000 ERROR 1 --- [main] c.x.Y : spring", Some(Level::Error)),
        ("ERROR [main] 2026-01-01 c.x.Y - x", Some(Level::Error)),
        ("SEVERE: servlet threw up", Some(Level::Error)),
        ("error: winston is simple", Some(Level::Error)),
        ("[error] queue overflow", Some(Level::Error)),
        ("npm ERR! code ENOENT", Some(Level::Error)),
        ("mysqld: error: no such file", Some(Level::Error)),
        ("2026/01/01 00:00:00 error: no such file", Some(Level::Error)),
        // syslog, klog, glog
        ("<131>Jan  1 00:00:00 host app[1]: x", Some(Level::Error)),
        ("<134>Jan  1 00:00:00 host app[1]: error", Some(Level::Info)),
        ("Jan  1 00:00:00 host app[1]: ERROR x", Some(Level::Error)),
        ("E20260102 15:04:05.123456     1 file.cc:12] x", Some(Level::Error)),
        // exceptions and panics
        ("TypeError: Cannot read properties of undefined", Some(Level::Error)),
        ("Error: boom of node", Some(Level::Error)),
        ("Uncaught TypeError: x is not a function", Some(Level::Error)),
        ("Exception in thread \"main\" java.lang.Error", Some(Level::Error)),
        ("fatal error: all goroutines are asleep", Some(Level::Fatal)),
        ("error: none of the hosts answers", Some(Level::Error)),
        // lines that only mention errors
        ("0 errors", None),
        ("no error", None),
        ("no errors found", None),
        ("error_count=0", None),
        ("errors: 0", None),
        ("error: 0", None),
        ("ERROR: 0", None),
        ("error: 0, warning: 0", None),
        ("error: none", None),
        ("error: <nil>", None),
        ("err=<nil> done", None),
        ("fail: 0", None),
        ("finished with 0 failures, 0 errors", None),
        ("error rate 0.0%", None),
        ("Tests: pass: 10, fail: 0", None),
        ("error handling is on", None),
        ("retried without ERROR", None),
        ("log level ERROR", None),
        ("log level [error]", None),
        ("setting log level to ERROR", None),
        ("status went from OK to ERROR again", None),
        ("GET /error HTTP/1.1", None),
        ("10.0.0.1 - - [x] \"GET /ERROR HTTP/1.1\" 404 12", Some(Level::Info)),
        ("INFO error handler registered", Some(Level::Info)),
        ("2026-01-01 00:00:00 INFO no ERROR in 5m", Some(Level::Info)),
        ("2026-01-01 00:00:00 [info] [error] page is set", Some(Level::Info)),
        ("the request ended (error)", None),
        ("loaded errors.go and fatal.go", None),
        ("terror is no level", None),
        ("", None),
    ] {
        assert_eq!(level(line), want, "{line}");
    }
}

/// Lines of real programs by origin, each with the first letter of its level, or `-` if it names none.
const SHAPES: &str = include_str!("tests/shapes.txt");

#[test]
fn shapes_of_real_programs() {
    let letter = |level: Option<Level>| match level {
        Some(Level::Trace) => "T",
        Some(Level::Debug) => "D",
        Some(Level::Info) => "I",
        Some(Level::Warn) => "W",
        Some(Level::Error) => "E",
        Some(Level::Fatal) => "F",
        None => "-",
    };
    let (mut table, mut missed, mut all) = (Vec::new(), Vec::new(), 0);
    for line in SHAPES.lines() {
        if let Some(origin) = line.strip_prefix("# ") {
            table.push((origin, 0, 0));
            continue;
        }
        let (want, line) = line.split_once(' ').unwrap();
        let (_, hits, of) = table.last_mut().unwrap();
        let coloured = format!("\u{1b}[31m{line}\u{1b}[0m");
        for line in [line, &crate::domain::text::strip_ansi(&coloured)] {
            *of += 1;
            if letter(level(line)) == want {
                *hits += 1;
            } else {
                missed.push(format!("{} instead of {want}: {line}", letter(level(line))));
            }
        }
        all += 1;
    }
    for (origin, hits, of) in table {
        eprintln!("{:>4} of {:>4}  {origin}", hits / 2, of / 2);
    }
    assert!(missed.is_empty(), "{} of {all}:\n{}", missed.len() / 2, missed.join("\n"));
    assert!(all >= 300, "{all}");
}

#[test]
fn stack_traces_continue() {
    for line in [
        "\tat com.x.Y(Z.java:1)",
        "    at f (a.js:1)",
        "Caused by: x",
        "  File \"a.py\", line 1",
        "goroutine 1 [running]:",
    ] {
        assert!(continues(line), "{line}");
    }
    for line in ["at last it works", "2026-01-01 ERROR x", "", "done"] {
        assert!(!continues(line), "{line}");
    }
}

proptest! {
    #[test]
    fn never_panics(line in any::<String>()) {
        level(&line);
        continues(&line);
    }
}

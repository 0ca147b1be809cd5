//! What a line of a log costs from its text to the store, and a search through a full store. `cargo bench --bench logs`;
//! nothing here judges the figures.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::sync::Arc;

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use pilothouse::source::logs::store::Origin;
use pilothouse::source::logs::{LogFilter, LogInput, LogLine, LogStore};
use pilothouse_core::domain::id::Name;
use pilothouse_core::domain::log::Level;
use pilothouse_core::domain::text;
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::logs::message::subject;
use pilothouse_core::logs::{fields, fingerprint, level};

const LINES: usize = 100_000;

fn main() {
    divan::main();
}

/// Lines of about 130 bytes in four formats; one in `every` is an error.
fn lines(every: usize) -> Vec<String> {
    (0..LINES)
        .map(|n| {
            let (word, letter) = if n % every == 0 { ("error", 'E') } else { ("info", 'I') };
            let (id, ms) = (n.wrapping_mul(2_654_435_761) % 100_000_000, n % 977);
            match n % 4 {
                0 => format!(
                    r#"{{"level":"{word}","ts":1767366245.{ms:03},"caller":"pay/client.go:{}","msg":"payment {id:08x} took {ms}ms","attempt":{}}}"#,
                    n % 400,
                    n % 5
                ),
                1 => format!(
                    "time=2026-01-02T15:04:05.{ms:03}Z level={word} msg=\"request {id} to 10.0.{}.{} done\" status=200 took={ms}ms path=/api/orders",
                    n % 256,
                    n % 251
                ),
                2 => format!(
                    "{letter}0102 15:04:05.{ms:03}456       1 reconciler.go:{}] \"Reconciled object\" pod=\"shop/checkout-{id:x}\" duration=\"{ms}ms\" try={}",
                    n % 700,
                    n % 9
                ),
                _ => format!(
                    "2026-01-02 15:04:05,{ms:03} {} [http-nio-8080-exec-{}] c.e.shop.OrderService - order {id} of user {} stored after {ms} ms in 3 parts",
                    word.to_uppercase(),
                    n % 40,
                    n % 9000
                ),
            }
        })
        .collect()
}

/// What the source does with a line after its time is read.
fn take(input: &LogInput, line: &str, origin: &Origin, pod: &Name, container: &Name) {
    let body = text::strip_ansi(line);
    let level = level::level(&body).unwrap_or_default();
    black_box(level::continues(&body));
    let text = text::clean(&body);
    let fingerprint =
        (level >= Level::Error).then(|| Name::from(fingerprint::mask(&subject(&text)).fingerprint));
    let (pod, container) = (pod.clone(), container.clone());
    input.push(
        LogLine {
            at: Stamp(1),
            pod,
            container,
            level,
            text: Name::from(&*text),
            fingerprint,
            ..LogLine::default()
        },
        origin,
    );
}

/// Levels, fingerprints, groups and ring: one error in so many lines.
#[divan::bench(args = [100, 1])]
fn ingest(bencher: Bencher<'_, '_>, every: usize) {
    let lines = lines(every);
    let bytes: usize = lines.iter().map(String::len).sum();
    let store = Arc::new(LogStore::new(16 << 20));
    let input = store.input("logs", "pods");
    let origin = Origin { workload: "shop/web".into(), version: "v1".into(), ..Origin::default() };
    let pods: Vec<Name> = (0..50).map(|n| Name::from(format!("shop/web-{n}"))).collect();
    let container = Name::from("app");
    bencher.counter(ItemsCount::new(LINES)).counter(BytesCount::new(bytes)).bench_local(|| {
        for (line, pod) in lines.iter().zip(pods.iter().cycle()) {
            take(&input, line, &origin, pod, &container);
        }
    });
}

#[divan::bench(args = [100, 1])]
fn levels(bencher: Bencher<'_, '_>, every: usize) {
    let lines = lines(every);
    bencher
        .counter(ItemsCount::new(LINES))
        .bench_local(|| lines.iter().filter(|line| level::level(line) == Some(Level::Error)).count());
}

/// A full store of 64 MiB: a word, and a field.
fn full() -> Arc<LogStore> {
    let store = Arc::new(LogStore::new(64 << 20));
    let input = store.input("logs", "pods");
    let pods: Vec<Name> = (0..50).map(|n| Name::from(format!("shop/web-{n}"))).collect();
    let container = Name::from("app");
    let lines = lines(100);
    for (line, pod) in lines.iter().cycle().take(4 * LINES).zip(pods.iter().cycle()) {
        take(&input, line, &Origin::default(), pod, &container);
    }
    store
}

#[divan::bench]
fn search_a_word(bencher: Bencher<'_, '_>) {
    let store = full();
    let finder = memchr::memmem::Finder::new("nothing has this");
    bencher.bench_local(|| {
        store.lines_that(&LogFilter::default(), 1000, |line| finder.find(line.text.as_bytes()).is_some())
    });
}

#[divan::bench]
fn search_a_field(bencher: Bencher<'_, '_>) {
    let store = full();
    bencher.bench_local(|| {
        store.lines_that(&LogFilter::default(), 1000, |line| {
            fields::get(&line.text, "status").as_deref() == Some("503")
        })
    });
}

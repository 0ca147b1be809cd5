//! The services under test: one HAProxy `backend` each, all with the same five servers.

/// How a service is balanced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Algorithm {
    RoundRobin,
    /// Round robin with static weights.
    Weighted,
    LeastConn,
    Random,
    Source,
    Header,
}

impl Algorithm {
    /// HAProxy's `balance` line.
    pub fn balance(self) -> &'static str {
        match self {
            Self::RoundRobin | Self::Weighted => "roundrobin",
            Self::LeastConn => "leastconn",
            Self::Random => "random",
            Self::Source => "source",
            Self::Header => "hdr(x-user)",
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::RoundRobin => "roundrobin",
            Self::Weighted => "weighted",
            Self::LeastConn => "leastconn",
            Self::Random => "random",
            Self::Source => "source",
            Self::Header => "hdr",
        }
    }

    /// The configured weights of the five servers.
    pub fn weights(self) -> [u32; SERVERS] {
        if self == Self::Weighted { [60, 30, 30, 40, 40] } else { [60; SERVERS] }
    }
}

/// The servers of each service.
pub const SERVERS: usize = 5;
/// The index of the server that answers `SLOWER` times as slowly as the others.
pub const SLOW: usize = 3;
pub const SLOWER: u64 = 8;
/// The index of the server that fails.
pub const FAILING: usize = 4;
/// Of a hundred requests, as many fail there.
pub const FAILS: u64 = 20;

/// One service.
#[derive(Clone, Debug)]
pub struct Service {
    pub name: String,
    pub algorithm: Algorithm,
    pub rps: f64,
    /// How long a server takes for a request that is not slow.
    pub think_ms: u64,
    /// The number of clients that send at the same time at most.
    pub clients: usize,
    /// From time to time, the weight of its first server is multiplied by this number.
    pub skew: Option<f64>,
}

/// All services. `copies` of each balanced one.
pub fn services(copies: usize) -> Vec<Service> {
    use Algorithm::{Header, LeastConn, Random, RoundRobin, Source, Weighted};
    let mut all = Vec::new();
    let mut add = |algorithm: Algorithm, word: &str, n: usize, rps, think_ms, clients, skew| {
        for i in 1..=n {
            let name = format!("{}{word}-{i}", algorithm.as_str());
            all.push(Service { name, algorithm, rps, think_ms, clients, skew });
        }
    };
    for algorithm in [RoundRobin, Weighted, Random, LeastConn] {
        add(algorithm, "", copies, 10.0, 8, 4, None);
    }
    // more requests at the same time than servers
    add(LeastConn, "-busy", copies.div_ceil(2), 18.0, 150, 24, None);
    for algorithm in [Source, Header] {
        add(algorithm, "", copies.div_ceil(2), 10.0, 8, 4, None);
    }
    // Twice as much as each other server: 1.67 times its share of the five. Twice its share: 8/3 of the weight.
    let (double, twice) = (2.0, 8.0 / 3.0);
    add(RoundRobin, "-double", copies.div_ceil(2), 10.0, 8, 4, Some(double));
    add(RoundRobin, "-twice", copies.div_ceil(2), 10.0, 8, 4, Some(twice));
    add(Random, "-twice", copies.div_ceil(2), 10.0, 8, 4, Some(twice));
    add(Weighted, "-double", copies.div_ceil(4), 10.0, 8, 4, Some(double));
    all
}

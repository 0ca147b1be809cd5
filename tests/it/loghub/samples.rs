//! Lines in the formats of eight kinds of programs, made from known templates with varying parts of the usual kinds.
//! `{n}` is a number, `{hex}` an id in hex, `{ip}` an address, `{dur}` a duration, `{uuid}` a UUID, `{pod}` the name of a
//! pod, `{user}` the name of a user, `{path}` a path, `{host}` a host, `{blk}` a signed block id. Each format has a head.

/// A sequence that is the same in every run.
struct Sequence(u64);

impl Sequence {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }

    fn of<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[usize::try_from(self.next(list.len() as u64)).unwrap()]
    }

    fn value(&mut self, what: &str) -> String {
        match what {
            "n" => match self.next(3) {
                0 => self.next(10).to_string(),
                1 => self.next(100_000).to_string(),
                _ => format!("{}.{}", self.next(100), self.next(1000)),
            },
            "int" => self.next(100_000).to_string(),
            "hex" => format!("{:08x}{:08x}", self.next(u64::from(u32::MAX)), self.next(u64::from(u32::MAX))),
            "ip" => format!("10.{}.{}.{}", self.next(256), self.next(256), self.next(256)),
            "dur" => format!("{}{}", self.next(5000), self.of(&["ms", "s", "µs", "m"])),
            "uuid" => format!(
                "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
                self.next(1 << 31),
                self.next(1 << 16),
                self.next(1 << 12),
                self.next(1 << 12),
                self.next(1 << 31)
            ),
            "pod" => format!(
                "{}-{:x}-x{}k",
                self.of(&["checkout", "cart", "mail"]),
                0x7d9f_8b6c_u64 + self.next(9999),
                self.next(99)
            ),
            "user" => self.of(&["root", "admin", "alice", "bob", "carol", "oracle", "guest", "test"]).into(),
            "path" => format!("/var/lib/{}/{}.seg", self.of(&["data", "index"]), self.next(100_000)),
            "host" => format!("ip-10-0-{}-{}.ec2.internal", self.next(256), self.next(256)),
            "blk" => format!("blk_{}{}", self.of(&["", "-"]), self.next(1 << 31)),
            "month" => self.of(&["Jan", "Feb", "Nov"]).into(),
            "day" => format!("{:2}", 1 + self.next(28)),
            "dd" => format!("{:02}", 1 + self.next(28)),
            "clock" => format!("{:02}:{:02}:{:02}", self.next(24), self.next(60), self.next(60)),
            "ms" => format!("{:03}", self.next(1000)),
            "weekday" => self.of(&["Mon", "Tue", "Sun"]).into(),
            other => panic!("{other}"),
        }
    }

    fn filled(&mut self, template: &str) -> String {
        let mut out = String::new();
        let mut rest = template;
        while let Some((before, tail)) = rest.split_once("${") {
            let (what, tail) = tail.split_once('}').unwrap();
            out.push_str(before);
            out.push_str(&self.value(what));
            rest = tail;
        }
        out.push_str(rest);
        out
    }
}

/// A format: its name, the head of its lines, and its templates.
const FORMATS: [(&str, &str, &[&str]); 9] = [
    (
        "HDFS",
        "2611${dd} 203615 ${int} ERROR ",
        &[
            "dfs.DataNode$PacketResponder: PacketResponder ${int} for block ${blk} terminating",
            "dfs.DataNode$DataXceiver: Receiving block ${blk} src: /${ip}:${int} dest: /${ip}:50010",
            "dfs.FSNamesystem: BLOCK* NameSystem.addStoredBlock: blockMap updated: ${ip}:50010 is added to ${blk} size ${int}",
            "dfs.DataNode$DataXceiver: ${ip}:50010:Got exception while serving ${blk} to /${ip}:",
            "dfs.DataNode$DataXceiver: writeBlock ${blk} received exception java.io.IOException: Connection reset by peer",
            "dfs.DataBlockScanner: Verification failed for ${blk}",
            "dfs.FSNamesystem: BLOCK* NameSystem.delete: ${blk} is added to invalidSet of ${ip}:50010",
            "dfs.DataNode: Deleting block ${blk} file ${path}",
            "dfs.DataNode$BlockReceiver: Exception in receiveBlock for block ${blk} java.io.EOFException",
            "dfs.DataNode$DataTransfer: ${ip}:50010:Failed to transfer ${blk} to ${ip}:50010 got timeout after ${n} s",
        ],
    ),
    (
        "Spark",
        "26/01/${dd} ${clock} ERROR ",
        &[
            "executor.Executor: Exception in task ${int}.0 in stage ${int}.0 (TID ${int})",
            "storage.BlockManager: Failed to fetch block rdd_${int}_${int} after ${int} attempts",
            "shuffle.RetryingBlockFetcher: Exception while beginning fetch of ${int} outstanding blocks",
            "cluster.YarnScheduler: Lost executor ${int} on ${host}: Executor heartbeat timed out after ${int} ms",
            "util.Utils: Uncaught exception in thread task-result-getter-${int}",
            "client.TransportClient: Failed to send RPC ${hex} to /${ip}:${int}",
            "netty.NettyRpcHandler: Still have ${int} requests outstanding when connection from ${host}:${int} is closed",
            "memory.TaskMemoryManager: Cannot allocate a page of ${int} bytes",
            "executor.CoarseGrainedExecutorBackend: Driver ${ip}:${int} disassociated! Shutting down.",
            "scheduler.TaskSetManager: Task ${int} in stage ${int}.0 failed ${int} times; aborting job",
        ],
    ),
    (
        "Zookeeper",
        "2026-01-${dd} ${clock},${ms} - ERROR ",
        &[
            "[NIOServerCxn.Factory:0.0.0.0/0.0.0.0:2181:NIOServerCnxn@${int}] - caught end of stream exception",
            "[QuorumPeer[myid=${int}]/0:0:0:0:0:0:0:0:2181:Leader@${int}] - Couldn't bind to port ${int}",
            "[CommitProcessor:${int}:NIOServerCnxn@${int}] - Unexpected Exception after ${int} ms",
            "[SendWorker:${int}:QuorumCnxManager$SendWorker@${int}] - Interrupted while waiting for message on queue",
            "[RecvWorker:${int}:QuorumCnxManager$RecvWorker@${int}] - Connection broken for id ${int}, my id = ${int}, error =",
            "[WorkerSender[myid=${int}]:QuorumCnxManager@${int}] - Cannot open channel to ${int} at election address /${ip}:3888",
            "[ProcessThread:-1:PrepRequestProcessor@${int}] - Failed to process request sessionid:0x${hex} type:create",
            "[LearnerHandler-/${ip}:${int}:LearnerHandler@${int}] - Unexpected exception causing shutdown while sock still open",
            "[main:QuorumPeerMain@${int}] - Invalid config, exiting abnormally",
            "[SyncThread:${int}:FileTxnLog@${int}] - fsync-ing the write ahead log took ${int}ms which will adversely effect operation latency",
        ],
    ),
    (
        "OpenSSH",
        "${month} ${day} ${clock} LabSZ sshd[${int}]: ",
        &[
            "error: Received disconnect from ${ip}: 3: com.jcraft.jsch.JSchException: Auth fail [preauth]",
            "Failed password for invalid user ${user} from ${ip} port ${int} ssh2",
            "Failed password for root from ${ip} port ${int} ssh2",
            "pam_unix(sshd:auth): check pass; user unknown",
            "input_userauth_request: invalid user ${user} [preauth]",
            "Connection closed by ${ip} [preauth]",
            "Did not receive identification string from ${ip}",
            "Received disconnect from ${ip}: 11: Bye Bye [preauth]",
            "reverse mapping checking getaddrinfo for ${host} [${ip}] failed - POSSIBLE BREAK-IN ATTEMPT!",
            "fatal: Write failed: Connection reset by peer [preauth]",
        ],
    ),
    (
        "Apache",
        "[${weekday} Jan ${dd} ${clock}.${int} 2026] ",
        &[
            "[core:error] [pid ${int}] [client ${ip}:${int}] File does not exist: ${path}",
            "[proxy:error] [pid ${int}] (111)Connection refused: AH00957: HTTP: attempt to connect to ${ip}:${int} failed",
            "[mpm_event:error] [pid ${int}] AH03490: scoreboard is full, not at MaxRequestWorkers",
            "[ssl:error] [pid ${int}] AH02032: Hostname provided via SNI and hostname provided via HTTP have no compatible setup",
            "[authz_core:error] [pid ${int}] [client ${ip}:${int}] AH01630: client denied by server configuration: ${path}",
            "[cgi:error] [pid ${int}] [client ${ip}:${int}] AH01215: script timed out after ${int} s",
            "[jk:error] workerEnv in error state ${int}",
            "[jk:error] [client ${ip}] Directory index forbidden by rule: ${path}",
            "[php:error] [pid ${int}] [client ${ip}:${int}] PHP Fatal error: Allowed memory size of ${int} bytes exhausted (tried to allocate ${int} bytes)",
            "[proxy_http:error] [pid ${int}] [client ${ip}:${int}] AH01102: error reading status line from remote server ${ip}:${int}",
        ],
    ),
    (
        "nginx",
        "2026/01/${dd} ${clock} [error] ${int}#${int}: *${int} ",
        &[
            "upstream timed out (110: Connection timed out) while reading response header from upstream, client: ${ip}, server: shop, request: \"GET /api/${int} HTTP/1.1\", upstream: \"http://${ip}:${int}/api/${int}\"",
            "connect() failed (111: Connection refused) while connecting to upstream, client: ${ip}, server: shop, request: \"GET /cart/${hex} HTTP/1.1\"",
            "no live upstreams while connecting to upstream, client: ${ip}, server: shop, request: \"POST /pay HTTP/1.1\"",
            "open() \"/usr/share/nginx/html/${int}.png\" failed (2: No such file or directory), client: ${ip}, server: shop",
            "client intended to send too large body: ${int} bytes, client: ${ip}, server: shop",
            "upstream prematurely closed connection while reading response header from upstream, client: ${ip}, server: shop",
            "limiting requests, excess: ${n} by zone \"api\", client: ${ip}, server: shop",
            "SSL_do_handshake() failed (SSL: error:0A00010B:SSL routines::wrong version number) while SSL handshaking, client: ${ip}",
            "recv() failed (104: Connection reset by peer) while reading response header from upstream, client: ${ip}, server: shop",
            "directory index of \"/usr/share/nginx/html/${int}/\" is forbidden, client: ${ip}, server: shop",
        ],
    ),
    (
        "klog",
        "E01${dd} ${clock}.123456 ${int} ",
        &[
            "reflector.go:${int}] \"Failed to watch\" err=\"failed to list *v1.Pod: Get https://${ip}:443: dial tcp ${ip}:443: i/o timeout\"",
            "pod_workers.go:${int}] \"Error syncing pod, skipping\" err=\"failed to StartContainer\" pod=\"shop/${pod}\" podUID=\"${uuid}\"",
            "kubelet_node_status.go:${int}] \"Error updating node status, will retry\" err=\"context deadline exceeded\"",
            "leaderelection.go:${int}] error retrieving resource lock kube-system/scheduler: Get \"https://${ip}:6443/\": net/http: request canceled after ${dur}",
            "nestedpendingoperations.go:${int}] Operation for \"${uuid}\" failed. No retries permitted until ${int} (durationBeforeRetry ${dur})",
            "eviction_manager.go:${int}] eviction manager: failed to get summary stats: failed to get node info: node \"${host}\" not found",
            "remote_runtime.go:${int}] \"RunPodSandbox from runtime service failed\" err=\"rpc error: code = Unknown desc = failed to reserve sandbox name ${pod}\"",
            "controller.go:${int}] failed to ensure lease exists, will retry in ${dur}, error: timed out waiting for the condition",
            "proxier.go:${int}] \"Failed to execute iptables-restore\" err=\"exit status ${int}\"",
            "cri_stats_provider.go:${int}] \"Failed to get the info of the filesystem with mountpoint\" mountpoint=\"${path}\" err=\"unable to find data in memory cache\"",
        ],
    ),
    (
        "logback",
        "2026-01-${dd} ${clock}.${ms} ERROR ${int} --- [nio-8080-exec-${int}] ",
        &[
            "c.e.shop.OrderService : Order ${int} could not be saved after ${dur}",
            "c.e.shop.OrderService : Order ${int} could not be read after ${dur}",
            "o.a.c.c.C.[.[.[/].[dispatcherServlet] : Servlet.service() for servlet [dispatcherServlet] threw exception",
            "o.h.engine.jdbc.spi.SqlExceptionHelper : HikariPool-${int} - Connection is not available, request timed out after ${int}ms.",
            "o.h.engine.jdbc.spi.SqlExceptionHelper : Deadlock found when trying to get lock; try restarting transaction",
            "c.e.shop.PaymentClient : POST https://pay.example/${uuid} gave ${int}",
            "o.s.k.listener.LoggingErrorHandler : Error while processing: ConsumerRecord(topic = orders, partition = ${int}, offset = ${int})",
            "c.e.shop.UserService : no account for user ${user} in tenant ${int}",
            "c.e.shop.StockCache : evicted ${int} of ${int} entries in ${dur}, still over ${int} bytes",
            "io.lettuce.core.RedisClient : Cannot reconnect to [${ip}:6379]: Connection refused: /${ip}:6379",
        ],
    ),
    (
        "JSON",
        "",
        &[
            "{\"level\":\"error\",\"ts\":${int},\"caller\":\"srv/pay.go:${int}\",\"msg\":\"payment ${uuid} declined\",\"err\":\"card expired\"}",
            "{\"level\":\"error\",\"ts\":${int},\"msg\":\"payment ${uuid} lost\",\"attempt\":${int}}",
            "{\"ts\":${int},\"severity\":\"ERROR\",\"message\":\"no stock for item ${int} in ${int} of ${int} warehouses\"}",
            "{\"time\":\"2026-01-${dd}T${clock}Z\",\"level\":\"ERROR\",\"msg\":\"query took ${dur}\",\"rows\":${int}}",
            "{\"time\":\"2026-01-${dd}T${clock}Z\",\"level\":\"ERROR\",\"msg\":\"query was killed after ${dur}\",\"rows\":${int}}",
            "{\"level\":50,\"time\":${int},\"pid\":${int},\"hostname\":\"${pod}\",\"msg\":\"request aborted by ${ip}\"}",
            "{\"level\":50,\"time\":${int},\"pid\":${int},\"hostname\":\"${pod}\",\"msg\":\"cannot open ${path}\"}",
            "{\"@timestamp\":\"2026-01-${dd}T${clock}Z\",\"log.level\":\"error\",\"message\":\"consumer ${pod} left the group, ${int} partitions move\"}",
            "{\"level\":\"error\",\"msg\":\"cache ${hex} is stale for user ${user}\"}",
            "{\"level\":\"error\",\"msg\":\"upstream ${host} answered 503\"}",
        ],
    ),
];

/// The lines of each format with the number of their template.
pub fn all() -> Vec<(&'static str, Vec<(usize, String)>)> {
    let mut sequence = Sequence(7);
    let lines = |(name, head, templates): &(&'static str, &str, &[&str])| {
        let lines = (0..400).map(|_| {
            let kind = usize::try_from(sequence.next(templates.len() as u64)).unwrap();
            (kind, sequence.filled(head) + &sequence.filled(templates[kind]))
        });
        (*name, lines.collect())
    };
    FORMATS.iter().map(lines).collect()
}

//! The table. `{port}`, `{proxy}`, `{dir}` and `{pki}` stand for the row's server, its proxy, its folder and the folder
//! with the certificates.

use base64::Engine as _;

use super::server::{Speaks, pki};

/// The expected result of a row.
#[derive(Clone, Debug)]
pub enum Want {
    /// The request as the server logs it.
    Sees(String),
    /// There is no answer, and the error contains this.
    Refuses(&'static str),
}

/// kubectl's result for a row.
#[derive(Clone, Debug)]
pub enum Kubectl {
    Same,
    /// Another result, with the reason.
    Differs(&'static str),
}

#[derive(Clone)]
pub struct Row {
    pub name: &'static str,
    pub speaks: Speaks,
    pub speaks_last: Speaks,
    pub proxied: bool,
    /// None: only the environment and the flags configure it.
    pub kubeconfig: Option<String>,
    pub files: Vec<(&'static str, String)>,
    pub env: Vec<(&'static str, &'static str)>,
    pub flags: Vec<&'static str>,
    pub want: Want,
    pub kubectl: Kubectl,
}

const HTTPS: Speaks = Speaks::Https("server", "");
const CA: &str = "certificate-authority: '{pki}/ca.crt'";

fn row(name: &'static str) -> Row {
    Row {
        name,
        speaks: HTTPS,
        speaks_last: HTTPS,
        proxied: false,
        kubeconfig: None,
        files: Vec::new(),
        env: Vec::new(),
        flags: Vec::new(),
        want: Want::Refuses(""),
        kubectl: Kubectl::Same,
    }
    .access(&format!("server: 'https://127.0.0.1:{{port}}', {CA}"), "token: t")
}

fn config(cluster: &str, user: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: x\nclusters: [{{name: c, cluster: {{{cluster}}}}}]\n\
         users: [{{name: u, user: {{{user}}}}}]\ncontexts: [{{name: x, context: {{cluster: c, user: u}}}}]\n"
    )
}

impl Row {
    fn access(self, cluster: &str, user: &str) -> Self {
        self.whole(&config(cluster, user))
    }

    fn user(self, user: &str) -> Self {
        self.access(&format!("server: 'https://127.0.0.1:{{port}}', {CA}"), user)
    }

    fn whole(mut self, text: &str) -> Self {
        self.kubeconfig = Some(text.to_owned());
        self
    }

    fn alone(mut self) -> Self {
        self.kubeconfig = None;
        self
    }

    fn on(mut self, speaks: Speaks) -> Self {
        (self.speaks, self.speaks_last) = (speaks, speaks);
        self
    }

    fn file(mut self, name: &'static str, text: impl Into<String>) -> Self {
        self.files.push((name, text.into()));
        self
    }

    fn env(mut self, name: &'static str, value: &'static str) -> Self {
        self.env.push((name, value));
        self
    }

    fn flags(mut self, flags: &[&'static str]) -> Self {
        self.flags.extend(flags);
        self
    }

    fn proxied(mut self) -> Self {
        self.proxied = true;
        self
    }

    /// `https /version`, followed by this.
    fn sees(mut self, rest: &str) -> Self {
        let scheme = if self.speaks_last == Speaks::Http { "http" } else { "https" };
        self.want = Want::Sees(format!("{scheme} /version {rest}"));
        self
    }

    fn sees_line(mut self, line: &str) -> Self {
        self.want = Want::Sees(line.to_owned());
        self
    }

    fn refused(mut self, words: &'static str) -> Self {
        self.want = Want::Refuses(words);
        self
    }

    fn kubectl_differs(mut self, why: &'static str) -> Self {
        self.kubectl = Kubectl::Differs(why);
        self
    }
}

/// A file of the certificates' folder as base64, broken into lines of `width`.
fn data(name: &str, width: usize) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(std::fs::read(pki().join(name)).unwrap());
    let lines: Vec<&str> =
        text.as_bytes().chunks(width).map(|line| std::str::from_utf8(line).unwrap()).collect();
    lines.join("\\n")
}

fn text(name: &str) -> String {
    std::fs::read_to_string(pki().join(name)).unwrap()
}

pub fn rows() -> Vec<Row> {
    [
        files(),
        merging(),
        servers(),
        users(),
        plugins(),
        flags(),
        certificates(),
        trust(),
        proxies(),
        redirects(),
    ]
    .concat()
}

fn files() -> Vec<Row> {
    let http = |name| row(name).on(Speaks::Http);
    let whole = |name, text: &str| http(name).whole(text);
    let cluster = "clusters: [{name: c, cluster: {server: 'http://127.0.0.1:{port}'}}]\n";
    vec![
        whole("JSON", r#"{"current-context":"x","clusters":[{"name":"c","cluster":{"server":"http://127.0.0.1:{port}"}}],"contexts":[{"name":"x","context":{"cluster":"c","user":""}}]}"#).sees("-"),
        whole("no kind, no users", &format!("{cluster}contexts: [{{name: x, context: {{cluster: c}}}}]\ncurrent-context: x\n")).sees("-"),
        whole("null everywhere", &format!("{cluster}users: null\npreferences: null\ncontexts: [{{name: x, context: {{cluster: c, user: null, namespace: null}}}}]\ncurrent-context: x\n")).sees("-"),
        whole("unknown fields", &format!("{cluster}colour: blue\ncontexts: [{{name: x, colour: 1, context: {{cluster: c, colour: [1]}}}}]\ncurrent-context: x\n")).sees("-"),
        whole("the user is not there", &format!("{cluster}contexts: [{{name: x, context: {{cluster: c, user: gone}}}}]\ncurrent-context: x\n")).sees("-"),
        whole("a key twice: the last counts", &format!("{cluster}current-context: z\ncurrent-context: x\ncontexts: [{{name: x, context: {{cluster: c}}}}]\n")).sees("-"),
        whole("a name twice", &format!("{cluster}users: [{{name: u}}, {{name: u}}]\ncontexts: [{{name: x, context: {{cluster: c}}}}]\ncurrent-context: x\n")).refused("twice"),
        whole("a second document", &format!("{cluster}contexts: [{{name: x, context: {{cluster: c}}}}]\ncurrent-context: x\n---\ncurrent-context: z\n")).sees("-"),
        whole("an anchor", "clusters: [{name: c, cluster: &a {server: 'http://127.0.0.1:{port}'}}, {name: d, cluster: *a}]\ncontexts: [{name: x, context: {cluster: d}}]\ncurrent-context: x\n").sees("-"),
        whole("another kind", &format!("kind: Pod\napiVersion: v1\n{cluster}")).refused("not a Config"),
        whole("another version", &format!("kind: Config\napiVersion: v2\n{cluster}")).refused("not a Config"),
        whole("broken YAML", "clusters: [").refused("not a valid kubeconfig"),
        whole("a list instead of a mapping", "[]").refused("not a valid kubeconfig"),
        whole("an empty file", "").refused("no current-context"),
        whole("no current context", &format!("{cluster}contexts: [{{name: x, context: {{cluster: c}}}}]\n")).refused("no current-context"),
        whole("a current context that is not there", &format!("{cluster}current-context: gone\n")).refused("there is no context \"gone\""),
        whole("a cluster that is not there", "contexts: [{name: x, context: {cluster: c}}]\ncurrent-context: x\n").refused("names the cluster \"c\""),
        whole("a cluster without a server", "clusters: [{name: c}]\ncontexts: [{name: x, context: {cluster: c}}]\ncurrent-context: x\n").refused("has no `server`"),
        whole("a name that YAML 1.1 reads as true", &format!("{cluster}contexts: [{{name: y, context: {{cluster: c}}}}]\ncurrent-context: 'y'\n")).refused("must be a text"),
        row("a token that is a number").user("token: 12345").refused("must be a text"),
        row("a token in quotes").user("token: '12345'").sees("Bearer 12345"),
        row("an empty token and a certificate").user("token: '', client-certificate: '{pki}/c-sec1.crt', client-key: '{pki}/c-sec1.key'").sees("- cert=sec1"),
        whole("a byte order mark", &format!("\u{feff}{cluster}contexts: [{{name: x, context: {{cluster: c}}}}]\ncurrent-context: x\n")).sees("-"),
        whole("lines that end with CRLF", "# mine\r\nclusters:\r\n- name: c\r\n  cluster:\r\n    server: http://127.0.0.1:{port}\r\ncontexts:\r\n- name: x\r\n  context: {cluster: c}\r\ncurrent-context: x\r\n").sees("-"),
        whole("JSON with tabs", "{\n\t\"current-context\": \"x\",\n\t\"clusters\": [{\"name\": \"c\", \"cluster\": {\"server\": \"http://127.0.0.1:{port}\"}}],\n\t\"contexts\": [{\"name\": \"x\", \"context\": {\"cluster\": \"c\"}}]\n}").sees("-"),
        whole("a list that is not indented, and comments", "# a\napiVersion: v1\nclusters:\n- cluster: # b\n    server: http://127.0.0.1:{port} # c\n  name: c\ncontexts:\n- context:\n    cluster: c\n  name: x\ncurrent-context: \"x\"\nkind: Config\npreferences: {}\nusers: []\n").sees("-"),
        whole("two thousand others", &format!("clusters:\n{}contexts:\n{}current-context: c-1999\n",
            (0..2000).map(|n| format!("- name: c-{n}\n  cluster:\n    server: http://127.0.0.1:{{port}}\n    certificate-authority-data: {}\n", "QUJD".repeat(400))).collect::<Vec<_>>().concat(),
            (0..2000).map(|n| format!("- name: c-{n}\n  context:\n    cluster: c-{n}\n    user: u-{n}\n")).collect::<Vec<_>>().concat())).sees("-"),
        row("data in a block of lines").whole(&format!("clusters:\n- name: c\n  cluster:\n    server: https://127.0.0.1:{{port}}\n    certificate-authority-data: |\n      {}\ncontexts: [{{name: x, context: {{cluster: c, user: u}}}}]\nusers: [{{name: u, user: {{token: t}}}}]\ncurrent-context: x\n", data("ca.crt", 64).replace("\\n", "\n      "))).sees("Bearer t"),
        row("data in folded lines, which has blanks").whole(&format!("clusters:\n- name: c\n  cluster:\n    server: https://127.0.0.1:{{port}}\n    certificate-authority-data: >\n      {}\ncontexts: [{{name: x, context: {{cluster: c, user: u}}}}]\nusers: [{{name: u, user: {{token: t}}}}]\ncurrent-context: x\n", data("ca.crt", 64).replace("\\n", "\n      "))).refused("not base64"),
        row("a token that looks like a number with an exponent").user("token: 1e5").refused("must be a text"),
        row("a token that looks like a time").user("token: 2024-01-01").sees("Bearer 2024-01-01"),
        row("insecure in the words of YAML 1.1").on(Speaks::Https("expired", "")).access("server: 'https://127.0.0.1:{port}', insecure-skip-tls-verify: yes", "token: t").sees("Bearer t"),
        row("insecure in quotes").access("server: 'https://127.0.0.1:{port}', insecure-skip-tls-verify: 'true'", "token: t").refused("true or false"),
        http("a folder instead of a file").alone().flags(&["--kubeconfig", "{dir}"]).refused("cannot read"),
        http("no file at all").alone().refused("no kubeconfig"),
        http("the file of the home folder").alone().file(".kube/config", config("server: 'http://127.0.0.1:{port}'", "")).sees("-"),
        http("--kubeconfig that is not there").alone().flags(&["--kubeconfig", "/nowhere/config"]).refused("no such kubeconfig"),
    ]
}

fn merging() -> Vec<Row> {
    let listed = |name| row(name).alone().env("KUBECONFIG", "{dir}/a:{dir}/b");
    let cluster = format!("server: 'https://127.0.0.1:{{port}}', {CA}");
    let users = |token: &str| format!("users: [{{name: u, user: {{token: {token}}}}}]\n");
    vec![
        listed("the first file's user counts")
            .file("a", config(&cluster, "token: a"))
            .file("b", users("b"))
            .sees("Bearer a"),
        listed("entries are whole: nothing of the second file's user")
            .file("a", users("a").replace("token: a", "as: me"))
            .file("b", config(&cluster, "token: b"))
            .sees("- as=me")
            .kubectl_differs("kubectl asks for a user name when there are no credentials"),
        listed("entries from both")
            .file("a", users("a"))
            .file("b", config(&cluster, "token: b"))
            .sees("Bearer a"),
        listed("the first current context")
            .file("a", "current-context: x\n")
            .file("b", config(&cluster, "token: b").replace("current-context: x", "current-context: z"))
            .sees("Bearer b"),
        listed("an empty current context is none")
            .file("a", "current-context: ''\n")
            .file("b", config(&cluster, "token: b"))
            .sees("Bearer b"),
        listed("a file of the list that is not there")
            .file("b", config(&cluster, "token: b"))
            .sees("Bearer b"),
        listed("an empty file in the list")
            .file("a", "")
            .file("b", config(&cluster, "token: b"))
            .sees("Bearer b"),
        listed("a broken file in the list")
            .file("a", "clusters: [")
            .file("b", config(&cluster, "token: b"))
            .refused("not a valid kubeconfig"),
        row("empty names in the list")
            .alone()
            .env("KUBECONFIG", "::{dir}/b:")
            .file("b", config(&cluster, "token: b"))
            .sees("Bearer b"),
        row("an empty KUBECONFIG is none")
            .alone()
            .env("KUBECONFIG", "")
            .file(".kube/config", config(&cluster, "token: h"))
            .sees("Bearer h"),
        row("KUBECONFIG goes before the home folder")
            .alone()
            .env("KUBECONFIG", "{dir}/a")
            .file("a", config(&cluster, "token: a"))
            .file(".kube/config", config(&cluster, "token: h"))
            .sees("Bearer a"),
        row("--kubeconfig goes before KUBECONFIG")
            .user("token: f")
            .env("KUBECONFIG", "{dir}/a")
            .file("a", config(&cluster, "token: a"))
            .sees("Bearer f"),
        listed("relative paths are their file's")
            .env("KUBECONFIG", "{dir}/a/config:{dir}/b/config")
            .file("a/config", config(&cluster, "tokenFile: tok"))
            .file("a/tok", "of-a")
            .file("b/tok", "of-b")
            .file("b/config", "")
            .sees("Bearer of-a"),
        listed("a relative path that climbs")
            .file("a", "")
            .env("KUBECONFIG", "{dir}/sub/config")
            .file("sub/config", config(&cluster, "tokenFile: ../tok"))
            .file("tok", "up")
            .sees("Bearer up"),
    ]
}

fn servers() -> Vec<Row> {
    let http =
        |name, server: &str| row(name).on(Speaks::Http).access(&format!("server: {server:?}"), "token: t");
    let prefixed =
        |name, server: &str, path: &str| http(name, server).sees_line(&format!("http {path}/version -"));
    vec![
        http("host:port is http", "127.0.0.1:{port}").sees("-"),
        http("localhost:port", "localhost:{port}").sees("-"),
        row("host:port with a CA is http all the same")
            .on(Speaks::Http)
            .access(&format!("server: '127.0.0.1:{{port}}', {CA}"), "token: t")
            .sees("-"),
        http("a slash at the end", "http://127.0.0.1:{port}/").sees("-"),
        http("two slashes at the end", "http://127.0.0.1:{port}//").sees("-"),
        http("capitals", "HTTP://127.0.0.1:{port}").sees("-"),
        http("a query", "http://127.0.0.1:{port}?x=1").sees("-"),
        http("a fragment", "http://127.0.0.1:{port}#x").sees("-"),
        prefixed("a path prefix", "http://127.0.0.1:{port}/k8s/clusters/c-1", "/k8s/clusters/c-1"),
        prefixed("a path prefix with slashes", "http://127.0.0.1:{port}//a//b/", "/a/b"),
        prefixed("a path prefix with dots", "http://127.0.0.1:{port}/a/../b/.", "/b"),
        prefixed("a path prefix and a query", "http://127.0.0.1:{port}/a?x=1#y", "/a"),
        http("user and password in the URL", "http://me:p%40ss@127.0.0.1:{port}").sees("Basic me:p@ss"),
        row("user and password in the URL go before a token")
            .access(&format!("server: 'https://me:pw@127.0.0.1:{{port}}', {CA}"), "token: t")
            .sees("Basic me:pw"),
        http("nothing secret over http", "http://127.0.0.1:{port}").sees("-"),
        http("white space before", " http://127.0.0.1:{port}").refused("white space"),
        http("white space after", "http://127.0.0.1:{port} ").refused("white space"),
        http("no server", "").refused("has no `server`"),
        http("a name with a space", "kube example").refused("invalid characters"),
        http("a scheme alone", "https://").refused("must be a URL"),
        http("host and path without a scheme", "127.0.0.1/api").refused("must be a URL"),
        http("another scheme", "ftp://127.0.0.1:{port}").refused("only https and http"),
        http("a socket", "unix:///var/run/x.sock").refused("must be a URL"),
        http("a port that is none", "http://127.0.0.1:99999").refused("port"),
        http("a port in letters", "http://127.0.0.1:https").refused("port"),
    ]
}

fn jwt(exp: i64) -> String {
    let part = |text: String| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
    let (head, body) = (
        part(r#"{"alg":"RS256"}"#.into()),
        part(format!(r#"{{"exp":{exp},"sub":"me","iss":"https://idp.test"}}"#)),
    );
    format!("{head}.{body}.c2ln")
}

fn users() -> Vec<Row> {
    let user = |name, text: &str| row(name).user(text);
    let good = jwt(4_000_000_000);
    let asks = "kubectl asks for a user name when there are no credentials";
    vec![
        user("a token", "token: t").sees("Bearer t"),
        user("a token with blanks around", "token: ' t '").sees("Bearer  t"),
        user("a token with a line break", r#"token: "t\n""#).refused("no header can carry"),
        user("a token file", "tokenFile: '{dir}/tok'").file("tok", "f").sees("Bearer f"),
        user("a token file with a newline", "tokenFile: '{dir}/tok'").file("tok", "f\n").sees("Bearer f"),
        user("a token file with CRLF and blanks", "tokenFile: '{dir}/tok'").file("tok", " \tf \r\n\r\n").sees("Bearer f"),
        user("the token file goes before the text", "token: t, tokenFile: '{dir}/tok'").file("tok", "f").sees("Bearer f"),
        user("a token file that is not there, and a text", "token: t, tokenFile: '{dir}/tok'").sees("Bearer t"),
        user("an empty token file, and a text", "token: t, tokenFile: '{dir}/tok'").file("tok", "\n").sees("Bearer t"),
        user("a token file that is not there", "tokenFile: '{dir}/tok'").refused("tokenFile"),
        user("an empty token file", "tokenFile: '{dir}/tok'").file("tok", "").refused("empty"),
        user("a name and a password", "username: me, password: 'p:ss wörd'").sees("Basic me:p:ss wörd"),
        user("a name without a password", "username: me").sees("Basic me:"),
        user("a password without a name", "password: pw").sees("-").kubectl_differs(asks),
        user("a token and a name", "token: t, username: me, password: pw").refused("only one way to log in"),
        user("a token file and a name", "tokenFile: '{dir}/tok', username: me").file("tok", "f").refused("only one way to log in"),
        user("no credentials", "").sees("-").kubectl_differs(asks),
        user("as", "token: t, as: bob").sees("Bearer t as=bob"),
        user("as with groups, uid and extra", "token: t, as: bob, as-groups: [g1, g2], as-uid: u-1, as-user-extra: {reason: [drill, x], 'a/b%': [one]}")
            .sees("Bearer t as=bob groups=g1,g2 uid=u-1 a%2fb%25=one reason=drill reason=x"),
        user("groups without a user to act as", "token: t, as-groups: [g1]").refused("without a user"),
        user("extra without a user to act as", "token: t, as-user-extra: {a: [b]}").refused("without a user"),
        user("a uid without a user to act as", "token: t, as-uid: u").refused("without a user"),
        user("as over http", "token: t, as: bob").on(Speaks::Http).access("server: 'http://127.0.0.1:{port}'", "token: t, as: bob").sees("- as=bob"),
        user("oidc with a good token", &format!("auth-provider: {{name: oidc, config: {{client-id: k, client-secret: s, id-token: {good}, idp-issuer-url: 'https://idp.test', refresh-token: r}}}}")).sees(&format!("Bearer {good}")),
        user("oidc with a token that is over, and no way to a new one", &format!("auth-provider: {{name: oidc, config: {{client-id: k, id-token: {}, idp-issuer-url: 'https://127.0.0.1:1'}}}}", jwt(1))).refused("oidc"),
        user("gcp was removed", "auth-provider: {name: gcp, config: {access-token: a}}").refused("gke-gcloud-auth-plugin"),
        user("azure was removed", "auth-provider: {name: azure}").refused("kubelogin"),
        user("a provider that there never was", "auth-provider: {name: magic}").refused("no auth provider"),
        user("a removed provider beside a token", "token: t, auth-provider: {name: gcp}").refused("gke-gcloud-auth-plugin"),
    ]
}

fn plugins() -> Vec<Row> {
    const V1: &str = "client.authentication.k8s.io/v1";
    let answer = |version: &str, status: &str| {
        format!(r#"{{"apiVersion":"{version}","kind":"ExecCredential","status":{{{status}}}}}"#)
    };
    let token = r#""token":"p""#;
    let script = |answer: String| format!("#!/bin/sh\ncat <<'X'\n{answer}\nX\n");
    let exec = move |name, status: &str, more: &str| {
        row(name)
            .user(&format!(
                "exec: {{apiVersion: {V1}, command: '{{dir}}/p.sh', interactiveMode: Never{more}}}"
            ))
            .file("p.sh", script(answer(V1, status)))
    };
    let other = move |name, text: &str| row(name).user(text).file("p.sh", script(answer(V1, token)));
    let identity = format!(
        r#""clientCertificateData":{},"clientKeyData":{}"#,
        serde_json::to_string(&text("c-sec1.crt")).unwrap(),
        serde_json::to_string(&text("c-sec1.key")).unwrap()
    );
    let half = format!(
        r#""token":"p","clientCertificateData":{}"#,
        serde_json::to_string(&text("c-sec1.crt")).unwrap()
    );
    let beta = "client.authentication.k8s.io/v1beta1";
    vec![
        exec("a plugin's token", token, "").sees("Bearer p"),
        exec("a plugin's certificate", &identity, "").sees("- cert=sec1"),
        exec("a plugin's token and certificate", &format!("{token},{identity}"), "").sees("Bearer p cert=sec1"),
        exec("a plugin's empty token and certificate", &format!(r#""token":"",{identity}"#), "").sees("- cert=sec1"),
        exec("a certificate without a key", &half, "").refused("without a key"),
        exec("neither", "", "").refused("no token and no certificate"),
        exec("a plugin's token with a line break", r#""token":"p\n""#, "").refused("no header can carry"),
        exec("an answer that is over already", r#""token":"p","expirationTimestamp":"2020-01-01T00:00:00Z""#, "").sees("Bearer p"),
        exec("an expirationTimestamp that is not a time", r#""token":"p","expirationTimestamp":"soon""#, "").refused("is not a time"),
        exec("args and env null", token, ", args: null, env: null").sees("Bearer p"),
        exec("an argument and a variable", token, ", args: [a], env: [{name: WORD, value: w}]")
            .file("p.sh", format!("#!/bin/sh\necho '{}'\n", answer(V1, r#""token":"'"$1-$WORD"'""#))).sees("Bearer a-w"),
        exec("a variable without a name", token, ", env: [{value: w}]").refused("variable without a name"),
        exec("noise on standard error", token, "").file("p.sh", format!("#!/bin/sh\nhead -c 300000 /dev/zero | tr '\\0' x >&2\necho '{}'\n", answer(V1, token))).sees("Bearer p"),
        exec("a child that holds the pipes", token, "").file("p.sh", format!("#!/bin/sh\nsleep 2 &\necho '{}'\n", answer(V1, token))).sees("Bearer p"),
        exec("its words when it fails", token, "").file("p.sh", "#!/bin/sh\necho 'run login first' >&2\nexit 3\n").refused("run login first"),
        exec("an answer that is not JSON", token, "").file("p.sh", "#!/bin/sh\necho hello\n").refused("not an ExecCredential"),
        exec("an answer without a kind", token, "").file("p.sh", format!("#!/bin/sh\necho '{{\"apiVersion\":\"{V1}\",\"status\":{{{token}}}}}'\n")).sees("Bearer p"),
        exec("an answer without a version", token, "").file("p.sh", format!("#!/bin/sh\necho '{{\"kind\":\"ExecCredential\",\"status\":{{{token}}}}}'\n")).refused("it answers in apiVersion"),
        exec("an answer without both", token, "").file("p.sh", format!("#!/bin/sh\necho '{{\"status\":{{{token}}}}}'\n")).refused("it answers in apiVersion"),
        exec("an answer of another kind", token, "").file("p.sh", format!("#!/bin/sh\necho '{{\"kind\":\"Pod\",\"apiVersion\":\"{V1}\",\"status\":{{{token}}}}}'\n")).refused("kind ExecCredential"),
        exec("an answer in YAML", token, "").file("p.sh", format!("#!/bin/sh\nprintf 'apiVersion: {V1}\\nkind: ExecCredential\\nstatus:\\n  token: p\\n'\n")).sees("Bearer p"),
        exec("an answer of another version", token, "").file("p.sh", format!("#!/bin/sh\necho '{}'\n", answer(beta, token))).refused("it answers in apiVersion"),
        exec("an answer without a status", token, "").file("p.sh", format!("#!/bin/sh\necho '{{\"apiVersion\":\"{V1}\",\"kind\":\"ExecCredential\"}}'\n")).refused("no status"),
        exec("a plugin beside a token", token, "}, token: t, x: {").sees("Bearer t"),
        exec("a plugin beside a name", token, "}, username: me, password: pw, x: {").sees("Basic me:pw"),
        exec("a plugin beside a certificate", token, "}, client-certificate: '{pki}/c-sec1.crt', client-key: '{pki}/c-sec1.key', x: {").sees("- cert=sec1"),
        exec("a plugin beside a provider", token, "}, auth-provider: {name: oidc").refused("cannot be combined"),
        other("v1beta1", &format!("exec: {{apiVersion: {beta}, command: '{{dir}}/p.sh'}}")).file("p.sh", script(answer(beta, token))).sees("Bearer p"),
        other("v1alpha1", "exec: {apiVersion: client.authentication.k8s.io/v1alpha1, command: '{dir}/p.sh', interactiveMode: Never}").refused("v1beta1 is needed"),
        other("no version", "exec: {command: '{dir}/p.sh', interactiveMode: Never}").refused("no apiVersion"),
        other("no command", &format!("exec: {{apiVersion: {V1}, interactiveMode: Never}}")).refused("no command"),
        other("v1 without interactiveMode", &format!("exec: {{apiVersion: {V1}, command: '{{dir}}/p.sh'}}")).refused("no interactiveMode"),
        other("an unknown interactiveMode", &format!("exec: {{apiVersion: {V1}, command: '{{dir}}/p.sh', interactiveMode: Perhaps}}")).refused("unknown interactiveMode"),
        other("IfAvailable", &format!("exec: {{apiVersion: {V1}, command: '{{dir}}/p.sh', interactiveMode: IfAvailable}}")).sees("Bearer p"),
        other("beside the kubeconfig", &format!("exec: {{apiVersion: {V1}, command: ./p.sh, interactiveMode: Never}}")).sees("Bearer p"),
        other("a plugin that is not installed", &format!("exec: {{apiVersion: {V1}, command: login-plugin, interactiveMode: Never, installHint: brew install login-plugin}}")).refused("brew install login-plugin"),
        exec("what a plugin is told", token, ", provideClusterInfo: true").access(
                &format!("server: 'https://127.0.0.1:{{port}}', tls-server-name: kube.test, disable-compression: true, {CA}, extensions: [{{name: client.authentication.k8s.io/exec, extension: {{audience: a}}}}]"),
                &format!("exec: {{apiVersion: {V1}, command: '{{dir}}/p.sh', interactiveMode: Never, provideClusterInfo: true}}"))
            // the token is the plugin's input, without its varying parts
            .file("p.sh", format!("#!/bin/sh\ntold=$(printf %s \"$KUBERNETES_EXEC_INFO\" | tr '{{}},' '\\n\\n\\n' | grep -v -e server\\\": -e authority-data -e '^$' | sort | tr -d '\\n\" ' | tr -c 'a-zA-Z0-9:./-' _)\necho '{}'\n", answer(V1, r#""token":"'"$told"'""#)))
            .sees("Bearer apiVersion:client.authentication.k8s.io/v1audience:acluster:config:disable-compression:trueinteractive:falsekind:ExecCredentialspec:tls-server-name:kube.test"),
    ]
}

fn flags() -> Vec<Row> {
    let with = |name, flags: &[&'static str]| row(name).flags(flags);
    let two = "current-context: x\nclusters: [{name: c, cluster: {server: 'https://127.0.0.1:{port}', certificate-authority: '{pki}/ca.crt'}}, {name: d, cluster: {server: 'https://127.0.0.1:{port}/d', certificate-authority: '{pki}/ca.crt'}}]\nusers: [{name: u, user: {token: t}}, {name: v, user: {token: v}}]\ncontexts: [{name: x, context: {cluster: c, user: u}}, {name: k, context: {cluster: d, user: v}}]\n";
    let of_two = |name, flags: &[&'static str]| row(name).whole(two).flags(flags);
    vec![
        with("--as and --as-group", &["--as", "bob", "--as-group", "g1", "--as-group=g2"])
            .sees("Bearer t as=bob groups=g1,g2"),
        with("--as-uid", &["--as", "bob", "--as-uid", "u"]).sees("Bearer t as=bob uid=u"),
        with("--as-group without --as", &["--as-group", "g1"]).refused("without a user"),
        with("--as over the kubeconfig's", &["--as", "eve"])
            .user("token: t, as: bob, as-groups: [g]")
            .sees("Bearer t as=eve groups=g"),
        with("--token", &["--token", "x"]).sees("Bearer x"),
        with("--token over a token file", &["--token", "x"])
            .user("tokenFile: '{dir}/tok'")
            .file("tok", "f")
            .sees("Bearer f"),
        with("--token beside a name", &["--token", "x"])
            .user("username: me")
            .refused("only one way to log in"),
        with("--token beside a certificate", &["--token", "x"])
            .user("client-certificate: '{pki}/c-sec1.crt', client-key: '{pki}/c-sec1.key'")
            .sees("Bearer x cert=sec1"),
        with("--token for a user that is not there", &["--token", "x"])
            .whole(&two.replace("user: u}", "user: w}"))
            .sees("Bearer x"),
        of_two("--context", &["--context", "k"]).sees_line("https /d/version Bearer v"),
        of_two("--context that is not there", &["--context", "z"]).refused("there is no context \"z\""),
        of_two("--user", &["--user", "v"]).sees("Bearer v"),
        of_two("--user that is not there", &["--user", "w"]).refused("there is no user \"w\""),
        of_two("--cluster", &["--cluster", "d"]).sees_line("https /d/version Bearer t"),
        of_two("--cluster that is not there", &["--cluster", "e"]).refused("there is no cluster \"e\""),
        with("--server", &["--server", "https://127.0.0.1:{port}/other"])
            .access(&format!("server: 'https://127.0.0.1:1', {CA}"), "token: t")
            .sees_line("https /other/version Bearer t"),
        with("-s", &["-s", "https://127.0.0.1:{port}"])
            .access(&format!("server: 'https://127.0.0.1:1', {CA}"), "token: t")
            .sees("Bearer t"),
        with("--server clears tls-server-name", &["--server", "https://127.0.0.1:{port}"])
            .access(&format!("server: 'https://127.0.0.1:1', tls-server-name: nobody.test, {CA}"), "token: t")
            .sees("Bearer t"),
        with(
            "--server and a token without a kubeconfig",
            &[
                "--server",
                "https://127.0.0.1:{port}",
                "--token",
                "x",
                "--certificate-authority",
                "{pki}/ca.crt",
            ],
        )
        .alone()
        .sees("Bearer x"),
        with("--server over a cluster that is not there", &["--server", "http://127.0.0.1:{port}"])
            .on(Speaks::Http)
            .whole("contexts: [{name: x, context: {cluster: c}}]\ncurrent-context: x\n")
            .sees("-"),
        with("--insecure-skip-tls-verify clears the CA", &["--insecure-skip-tls-verify"])
            .on(Speaks::Https("named", ""))
            .sees("Bearer t"),
        with("--insecure-skip-tls-verify=true", &["--insecure-skip-tls-verify=true"])
            .on(Speaks::Https("expired", ""))
            .sees("Bearer t"),
        with("--insecure-skip-tls-verify=false", &["--insecure-skip-tls-verify=false"]).sees("Bearer t"),
        with("--certificate-authority over the data", &["--certificate-authority", "{pki}/ca.crt"])
            .access(
                &format!(
                    "server: 'https://127.0.0.1:{{port}}', certificate-authority-data: \"{}\"",
                    data("other-ca.crt", 4000)
                ),
                "token: t",
            )
            .sees("Bearer t"),
        with("--certificate-authority over insecure", &["--certificate-authority", "{pki}/other-ca.crt"])
            .access("server: 'https://127.0.0.1:{port}', insecure-skip-tls-verify: true", "token: t")
            .refused("unknown authority"),
        with("--certificate-authority that is not there", &["--certificate-authority", "/nowhere"])
            .refused("certificate-authority"),
        with(
            "--client-certificate and --client-key",
            &["--client-certificate", "{pki}/c-pkcs8.crt", "--client-key", "{pki}/c-pkcs8.key"],
        )
        .user("")
        .sees("- cert=pkcs8"),
        with(
            "--client-certificate over the kubeconfig's",
            &["--client-certificate", "{pki}/c-pkcs8.crt", "--client-key", "{pki}/c-pkcs8.key"],
        )
        .user("client-certificate: '{pki}/c-sec1.crt', client-key: '{pki}/c-sec1.key'")
        .sees("- cert=pkcs8"),
        with("--client-certificate without a key", &["--client-certificate", "{pki}/c-pkcs8.crt"])
            .refused("no client-key"),
        with("--tls-server-name", &["--tls-server-name", "other.test"])
            .on(Speaks::Https("named", ""))
            .sees("Bearer t"),
        with("--request-timeout", &["--request-timeout", "5s"]).sees("Bearer t"),
        with("--request-timeout as a number", &["--request-timeout=5"]).sees("Bearer t"),
        with("--request-timeout that is none", &["--request-timeout", "soon"]).refused("request-timeout"),
    ]
}

fn certificates() -> Vec<Row> {
    let client = |name, kind: &str| {
        row(name)
            .user(&format!("client-certificate: '{{pki}}/c-{kind}.crt', client-key: '{{pki}}/c-{kind}.key'"))
            .sees(&format!("- cert={kind}"))
    };
    let files = |name, cert: String, key: String| {
        row(name).user("client-certificate: '{dir}/c', client-key: '{dir}/k'").file("c", cert).file("k", key)
    };
    let (cert, key) = (text("c-sec1.crt"), text("c-sec1.key"));
    vec![
        client("a key in SEC1 with EC PARAMETERS", "sec1"),
        client("a key in PKCS#1", "pkcs1"),
        client("a key in PKCS#8", "pkcs8"),
        client("an Ed25519 key", "ed25519"),
        client("a P-384 key", "p384"),
        client("a certificate of version 1", "v1"),
        client("a P-521 key", "p521").refused("P-521").kubectl_differs("ring, the TLS provider, has no P-521"),
        files("CRLF", cert.replace('\n', "\r\n"), key.replace('\n', "\r\n")).sees("- cert=sec1"),
        files("certificate and key in one file", format!("{key}{cert}"), format!("{cert}{key}")).sees("- cert=sec1"),
        files("text around", text("with-text.crt"), format!("my key\n{key}end\n")).sees("- cert=sec1"),
        files("an encrypted key", cert.clone(), text("encrypted.key")).refused("encrypted"),
        files("another certificate's key", cert.clone(), text("c-p384.key")).refused("another certificate"),
        files("no certificate in the file", "hello".into(), key.clone()).refused("no certificate"),
        files("no key in the file", cert.clone(), cert.clone()).refused("no private key"),
        row("certificate and key as data").user(&format!("client-certificate-data: \"{}\", client-key-data: \"{}\"", data("c-sec1.crt", 64), data("c-sec1.key", 64))).sees("- cert=sec1"),
        row("certificate as data, key as a file").user(&format!("client-certificate-data: \"{}\", client-key: '{{pki}}/c-sec1.key'", data("c-sec1.crt", 4000))).sees("- cert=sec1"),
        row("certificate as data and as a file").user(&format!("client-certificate: '{{pki}}/c-sec1.crt', client-certificate-data: \"{}\", client-key: '{{pki}}/c-sec1.key'", data("c-sec1.crt", 4000))).refused("remove one of them"),
        row("a token and a certificate").user("token: t, client-certificate: '{pki}/c-sec1.crt', client-key: '{pki}/c-sec1.key'").sees("Bearer t cert=sec1"),
        row("a key without a certificate").user("token: t, client-key: '{pki}/c-sec1.key'").sees("Bearer t"),
        row("a certificate file that is not there").user("client-certificate: '/nowhere', client-key: '{pki}/c-sec1.key'").refused("/nowhere"),
        row("data that is no base64").user("client-certificate-data: '%%%', client-key: '{pki}/c-sec1.key'").refused("not base64"),
        row("base64 without padding").user("client-certificate-data: 'YWI', client-key: '{pki}/c-sec1.key'").refused("not base64"),
        row("base64 with blanks").user("client-certificate-data: 'YW Jj', client-key: '{pki}/c-sec1.key'").refused("not base64"),
    ]
}

fn trust() -> Vec<Row> {
    let bundle = |name, text: String| {
        row(name)
            .access("server: 'https://127.0.0.1:{port}', certificate-authority: '{dir}/ca'", "token: t")
            .file("ca", text)
    };
    let server = |name, cert: &'static str, more: &str| {
        row(name)
            .on(Speaks::Https(cert, ""))
            .access(&format!("server: 'https://127.0.0.1:{{port}}', {CA}{more}"), "token: t")
    };
    let named =
        |name, server_name: &str| server(name, "server", &format!(", tls-server-name: '{server_name}'"));
    let (ca, other) = (text("ca.crt"), text("other-ca.crt"));
    vec![
        row("the CA as data")
            .access(
                &format!(
                    "server: 'https://127.0.0.1:{{port}}', certificate-authority-data: \"{}\"",
                    data("ca.crt", 4000)
                ),
                "token: t",
            )
            .sees("Bearer t"),
        row("the CA as data in lines")
            .access(
                &format!(
                    "server: 'https://127.0.0.1:{{port}}', certificate-authority-data: \"{}\\n\"",
                    data("ca.crt", 60)
                ),
                "token: t",
            )
            .sees("Bearer t"),
        row("the CA as data and as a file")
            .access(
                &format!(
                    "server: 'https://127.0.0.1:{{port}}', {CA}, certificate-authority-data: \"{}\"",
                    data("ca.crt", 4000)
                ),
                "token: t",
            )
            .refused("remove one of them"),
        bundle("two CAs", format!("{other}{ca}")).sees("Bearer t"),
        bundle("text between the CAs", format!("# mine\n\nsubject=/CN=x\n{other}\nissuer=y\n{ca}"))
            .sees("Bearer t"),
        bundle(
            "a block that is no certificate",
            format!("-----BEGIN CERTIFICATE-----\nTm90IGEgY2VydA==\n-----END CERTIFICATE-----\n{ca}"),
        )
        .sees("Bearer t"),
        bundle(
            "a block that is broken",
            format!("-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n{ca}"),
        )
        .sees("Bearer t"),
        bundle("a key in the bundle", format!("{}{ca}", text("c-sec1.key"))).sees("Bearer t"),
        bundle("a TRUSTED CERTIFICATE in the bundle", format!("{}{ca}", text("trusted.crt")))
            .sees("Bearer t"),
        bundle("the bundle with CRLF", ca.replace('\n', "\r\n")).sees("Bearer t"),
        bundle("no newline at the end", ca.trim_end().to_owned()).sees("Bearer t"),
        bundle("no certificate in the bundle", "hello\n".into()).refused("no certificate in it"),
        bundle("an empty bundle is none", String::new()).refused("unknown authority"),
        bundle("another cluster's CA under the same name", other).refused("unknown authority"),
        row("the CA in DER")
            .access("server: 'https://127.0.0.1:{port}', certificate-authority: '{pki}/ca.der'", "token: t")
            .refused("no certificate in it"),
        row("no CA: those of the machine")
            .access("server: 'https://127.0.0.1:{port}'", "token: t")
            .refused("unknown authority"),
        row("insecure")
            .on(Speaks::Https("expired", ""))
            .access("server: 'https://127.0.0.1:{port}', insecure-skip-tls-verify: true", "token: t")
            .sees("Bearer t"),
        row("insecure with a CA")
            .access(
                &format!("server: 'https://127.0.0.1:{{port}}', insecure-skip-tls-verify: true, {CA}"),
                "token: t",
            )
            .refused("only one of them"),
        row("a server's certificate as its own CA")
            .on(Speaks::Https("self", ""))
            .access("server: 'https://127.0.0.1:{port}', certificate-authority: '{pki}/self.crt'", "token: t")
            .sees("Bearer t"),
        row("its own CA under another name")
            .on(Speaks::Https("self", ""))
            .access("server: 'https://localhost:{port}', certificate-authority: '{pki}/self.crt'", "token: t")
            .refused("another name"),
        row("a leaf that is trusted itself")
            .access(
                "server: 'https://127.0.0.1:{port}', certificate-authority: '{pki}/server.crt'",
                "token: t",
            )
            .sees("Bearer t"),
        row("only the intermediate")
            .on(Speaks::Https("under-mid", ""))
            .access("server: 'https://127.0.0.1:{port}', certificate-authority: '{pki}/mid.crt'", "token: t")
            .sees("Bearer t"),
        row("the root, and the server sends the chain")
            .on(Speaks::Https("under-mid", "mid"))
            .sees("Bearer t"),
        row("the root, and the server sends no chain")
            .on(Speaks::Https("under-mid", ""))
            .refused("unknown authority"),
        row("a CA of version 1")
            .on(Speaks::Https("under-v1", ""))
            .access("server: 'https://127.0.0.1:{port}', certificate-authority: '{pki}/v1.crt'", "token: t")
            .sees("Bearer t"),
        server("for another name", "named", "").refused("valid for other.test, not for 127.0.0.1"),
        server("for no name", "nameless", "").refused("another name"),
        server("over", "expired", "").refused("it expired at 2020-02-01"),
        server("not begun", "future", "").refused("check the clock"),
        server("tls-server-name of another certificate", "named", ", tls-server-name: other.test")
            .sees("Bearer t"),
        named("tls-server-name", "kube.test").sees("Bearer t"),
        named("tls-server-name under a wildcard", "a.wild.test").sees("Bearer t"),
        named("tls-server-name two under a wildcard", "a.b.wild.test").refused("another name"),
        named("tls-server-name with an underscore", "my_kube.test").sees("Bearer t"),
        named("tls-server-name is an address", "10.0.0.1").sees("Bearer t"),
        named("tls-server-name in capitals", "KUBE.TEST").sees("Bearer t"),
        row("https to http").on(Speaks::Http).refused("does not speak TLS"),
        row("http to https").access("server: 'http://127.0.0.1:{port}'", "token: t").refused(""),
    ]
}

fn proxies() -> Vec<Row> {
    let via = |name, url: &str| {
        row(name)
            .proxied()
            .access(&format!("server: 'https://kube.test:{{port}}', proxy-url: '{url}', {CA}"), "token: t")
    };
    let http = |name, url: &str| {
        row(name)
            .on(Speaks::Http)
            .proxied()
            .access(&format!("server: 'http://kube.test:6443', proxy-url: '{url}'"), "token: t")
    };
    let env = |name, variable: &'static str, value: &'static str| {
        row(name)
            .proxied()
            .env(variable, value)
            .access(&format!("server: 'https://kube.test:6443', {CA}"), "token: t")
    };
    let local = |name| row(name).proxied().env("HTTPS_PROXY", "http://127.0.0.1:{proxy}");
    let line = |asked: &str| format!("{asked} > https /version Bearer t");
    let through = line("CONNECT kube.test:6443 -");
    let direct = |name, no_proxy: &'static str| {
        env(name, "HTTPS_PROXY", "http://127.0.0.1:{proxy}")
            .env("NO_PROXY", no_proxy)
            .refused("cannot be resolved")
    };
    let still = |name, no_proxy: &'static str| {
        env(name, "HTTPS_PROXY", "http://127.0.0.1:{proxy}").env("NO_PROXY", no_proxy).sees_line(&through)
    };
    vec![
        http("proxy-url for http", "http://127.0.0.1:{proxy}").sees_line("GET kube.test:6443 - > http /version -"),
        http("proxy-url with a password for http", "http://me:p%40ss@127.0.0.1:{proxy}").sees_line("GET kube.test:6443 Basic me:p@ss > http /version -"),
        http("socks5 for http", "socks5://127.0.0.1:{proxy}").sees_line("socks5 kube.test:6443 - > http /version -"),
        row("proxy-url").proxied().access(&format!("server: 'https://kube.test:6443', proxy-url: 'http://127.0.0.1:{{proxy}}', {CA}"), "token: t").sees_line(&through),
        row("proxy-url with a password").proxied().access(&format!("server: 'https://kube.test:6443', proxy-url: 'http://me:p%40ss@127.0.0.1:{{proxy}}/', {CA}"), "token: t").sees_line(&line("CONNECT kube.test:6443 Basic me:p@ss")),
        row("socks5").proxied().access(&format!("server: 'https://kube.test:6443', proxy-url: 'socks5://127.0.0.1:{{proxy}}', {CA}"), "token: t").sees_line(&line("socks5 kube.test:6443 -")),
        row("socks5 with a password").proxied().access(&format!("server: 'https://kube.test:6443', proxy-url: 'socks5://me:pw@127.0.0.1:{{proxy}}', {CA}"), "token: t").sees_line(&line("socks5 kube.test:6443 me:pw")),
        row("proxy-url goes before HTTPS_PROXY and NO_PROXY").proxied().env("HTTPS_PROXY", "http://127.0.0.1:1").env("NO_PROXY", "*").access(&format!("server: 'https://kube.test:6443', proxy-url: 'http://127.0.0.1:{{proxy}}', {CA}"), "token: t").sees_line(&through),
        via("proxy-url without a scheme", "127.0.0.1:{proxy}").refused("proxy-url"),
        via("proxy-url of another scheme", "ftp://127.0.0.1:{proxy}").refused("proxy-url"),
        env("HTTPS_PROXY", "HTTPS_PROXY", "http://127.0.0.1:{proxy}").sees_line(&through),
        env("https_proxy", "https_proxy", "http://127.0.0.1:{proxy}").sees_line(&through),
        env("HTTPS_PROXY without a scheme", "HTTPS_PROXY", "127.0.0.1:{proxy}").sees_line(&through),
        env("HTTPS_PROXY with a password", "HTTPS_PROXY", "http://me:pw@127.0.0.1:{proxy}").sees_line(&line("CONNECT kube.test:6443 Basic me:pw")),
        env("HTTPS_PROXY is socks5", "HTTPS_PROXY", "socks5://me:pw@127.0.0.1:{proxy}").sees_line(&line("socks5 kube.test:6443 me:pw")),
        env("HTTP_PROXY is not for https", "HTTP_PROXY", "http://127.0.0.1:{proxy}").refused("cannot be resolved"),
        env("ALL_PROXY is nobody's", "ALL_PROXY", "http://127.0.0.1:{proxy}").refused("cannot be resolved"),
        row("HTTP_PROXY").on(Speaks::Http).proxied().env("HTTP_PROXY", "http://127.0.0.1:{proxy}").access("server: 'http://kube.test:6443'", "").sees_line("GET kube.test:6443 - > http /version -"),
        direct("NO_PROXY names the host", "kube.test"),
        direct("NO_PROXY names the domain", "test"),
        direct("NO_PROXY with a dot", ".test"),
        direct("NO_PROXY with a wildcard", "*.test"),
        direct("NO_PROXY is a star", "*"),
        direct("NO_PROXY in capitals among others", "a, KUBE.TEST ,b"),
        direct("NO_PROXY with the port", "kube.test:6443"),
        still("NO_PROXY with another port", "kube.test:443"),
        still("NO_PROXY with a dot before the host itself", ".kube.test"),
        still("NO_PROXY of another host", "be.test"),
        still("NO_PROXY of junk", ",, :80, https://kube.test, 10.0.0.0/8,/"),
        local("loopback is not proxied").sees("Bearer t"),
        local("localhost is not proxied").access(&format!("server: 'https://localhost:{{port}}', {CA}"), "token: t").sees("Bearer t"),
    ]
}

fn redirects() -> Vec<Row> {
    let redirected = |name, code| {
        let mut row = row(name).access("server: 'http://127.0.0.1:{port}'", "");
        (row.speaks, row.speaks_last) = (Speaks::Redirect(code), Speaks::Http);
        row.sees("-")
    };
    vec![
        redirected("301", 301),
        redirected("302", 302),
        redirected("303", 303),
        redirected("307", 307),
        redirected("308", 308),
        redirected("300 is not followed", 300).refused("redirects to http://127.0.0.1"),
    ]
}

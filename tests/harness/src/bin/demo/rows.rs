// SPDX-License-Identifier: Apache-2.0
//! What the demo shows: commands for a newcomer's shell, each with the answer to expect. `--check` runs these very commands.

/// One thing to try.
pub struct Row {
    /// What it shows.
    pub title: &'static str,
    /// A shell command, to be run in the run folder.
    pub command: &'static str,
    /// What it answers.
    pub answer: Answer,
}

/// What a command's output is held against.
pub enum Answer {
    /// Exactly these lines.
    Lines(&'static str),
    /// One of these, by the version of the tool.
    OneOf(&'static [&'static str]),
    /// A line that has all of these in it.
    Has(&'static [&'static str]),
    /// Counted lines, `COUNT NAME`: these names and no others, each about as often as the others.
    Even(&'static [&'static str]),
}

const fn row(title: &'static str, command: &'static str, answer: Answer) -> Row {
    Row { title, command, answer }
}

/// A chapter of the demo.
pub struct Chapter {
    /// What its rows have in common.
    pub title: &'static str,
    /// What to try.
    pub rows: &'static [Row],
}

/// All there is to try, in the order in which it is checked: the rows that edit files stand last.
pub const CHAPTERS: &[Chapter] = &[
    Chapter { title: "Through the gateway (127.0.0.10)", rows: GATEWAY },
    Chapter { title: "From productpage, through its own sidecar (127.0.0.111)", rows: TRAFFIC },
    Chapter { title: "Who may do what", rows: SECURITY },
    Chapter { title: "The Gateway API", rows: GATEWAY_API },
    Chapter { title: "Changes while it runs", rows: EDITS },
];

const GATEWAY: &[Row] = &[
    row(
        "A route: the gateway calls productpage, which sees who called (gateway.yaml)",
        "curl -s --connect-to ::127.0.0.10: 'http://bookinfo.example:8080/?show=service,caller'",
        Answer::Lines("productpage spiffe://cluster.local/ns/istio-system/sa/istio-ingressgateway"),
    ),
    row(
        "A chain: gateway, productpage, and from there by its sidecar to details",
        "curl -s --connect-to ::127.0.0.10: 'http://bookinfo.example:8080/call?url=http://details:9080/?show=service,caller'",
        Answer::Lines("details spiffe://cluster.local/ns/bookinfo/sa/bookinfo-productpage"),
    ),
    row(
        "A host that no route knows",
        "curl -s -o /dev/null -w '%{http_code}\\n' --connect-to ::127.0.0.10: http://other.example:8080/",
        Answer::Lines("404"),
    ),
    row(
        "TCP inside TLS that ends at the gateway (port 11112)",
        "./echo send --ca certificates/echo-ca.pem --server-name echo.bookinfo.example 127.0.0.10:11112 'good day'",
        Answer::Lines("hello from details v1\ndetails good day"),
    ),
    row(
        "TLS passed through by its server name: the certificate is the server's own",
        "curl -s --cacert certificates/secure-ca.pem --connect-to ::127.0.0.10: 'https://secure.bookinfo.example:8443/?show=service'",
        Answer::Lines("secure"),
    ),
];

const TRAFFIC: &[Row] = &[
    row(
        "A split: half v1, half v3 (reviews.yaml)",
        "curl -s --connect-to ::127.0.0.111: 'http://reviews:9080/?show=version&n=[1-200]' | sort | uniq -c",
        Answer::Even(&["v1", "v3"]),
    ),
    row(
        "A match on a header: jason reads v2",
        "curl -s --connect-to ::127.0.0.111: -H 'end-user: jason' 'http://reviews:9080/?show=version'",
        Answer::Lines("v2"),
    ),
    row(
        "A fault: ratings never sees this request (ratings.yaml)",
        "curl -s --connect-to ::127.0.0.113: -H 'x-fault: abort' -w '\\n%{http_code}\\n' http://ratings:9080/",
        Answer::Lines("fault filter abort\n555"),
    ),
    row(
        "A retry: three attempts fail, the fourth answers (details.yaml)",
        "curl -s --connect-to ::127.0.0.111: \"http://details:9080/?show=attempt&fail=3&id=$(date +%s%N)\"",
        Answer::Lines("4"),
    ),
];

const SECURITY: &[Row] = &[
    row(
        "STRICT mutual TLS: a plaintext call is refused (security.yaml)",
        "curl -s http://127.0.0.12:9080/; echo \"curl: exit $?\"",
        Answer::OneOf(&["curl: exit 56", "curl: exit 52"]),
    ),
    row(
        "The same through a sidecar passes, and details knows who calls",
        "curl -s --connect-to ::127.0.0.111: 'http://details:9080/?show=service,caller'",
        Answer::Lines("details spiffe://cluster.local/ns/bookinfo/sa/bookinfo-productpage"),
    ),
    row(
        "An AuthorizationPolicy: reviews may ask for ratings, ...",
        "curl -s --connect-to ::127.0.0.113: 'http://ratings:9080/?show=service,caller'",
        Answer::Lines("ratings spiffe://cluster.local/ns/bookinfo/sa/bookinfo-reviews"),
    ),
    row(
        "... productpage may not",
        "curl -s --connect-to ::127.0.0.111: -w '\\n%{http_code}\\n' http://ratings:9080/",
        Answer::Lines("RBAC: access denied\n403"),
    ),
    row(
        "A method that nobody may use",
        "curl -s --connect-to ::127.0.0.111: -X DELETE -w '\\n%{http_code}\\n' http://details:9080/",
        Answer::Lines("RBAC: access denied\n403"),
    ),
    row(
        "A required token: without it /admin is closed, ...",
        "curl -s -o /dev/null -w '%{http_code}\\n' --connect-to ::127.0.0.10: http://bookinfo.example:8080/admin",
        Answer::Lines("403"),
    ),
    row(
        "... a forged one is refused, ...",
        "curl -s -o /dev/null -w '%{http_code}\\n' --connect-to ::127.0.0.10: -H \"Authorization: Bearer $(sed 's/[^.]*$/forged/' token)\" http://bookinfo.example:8080/admin",
        Answer::Lines("401"),
    ),
    row(
        "... a good one opens it",
        "curl -s --connect-to ::127.0.0.10: -H \"Authorization: Bearer $(cat token)\" 'http://bookinfo.example:8080/admin?show=service,path'",
        Answer::Lines("productpage /admin"),
    ),
];

const GATEWAY_API: &[Row] = &[
    row(
        "An HTTPRoute on a Gateway, with a rewrite (gateway-api.yaml)",
        "curl -s --connect-to ::127.0.0.10: 'http://routes.example:18081/old/page?show=service,path'",
        Answer::Lines("productpage /new/page"),
    ),
    row(
        "An HTTPRoute on a Service: half v1, half v3",
        "curl -s --connect-to ::127.0.0.111: 'http://opinions:9080/?show=version&n=[1-200]' | sort | uniq -c",
        Answer::Even(&["v1", "v3"]),
    ),
    row(
        "An HTTPRoute on the mesh: the same for another service",
        "curl -s --connect-to ::127.0.0.111: 'http://comments:9080/?show=version&n=[1-200]' | sort | uniq -c",
        Answer::Even(&["v1", "v3"]),
    ),
    row(
        "An HTTPRoute on the mesh for a host that no service has",
        "curl -s --connect-to ::127.0.0.111: 'http://example.com:9080/?show=service,host'",
        Answer::Lines("example example.com:9080"),
    ),
];

const EDITS: &[Row] = &[
    row(
        "An edit takes effect at once: now lucy reads v2",
        "sed -i 's/jason/lucy/' config/reviews.yaml; sleep 0.5; curl -s --connect-to ::127.0.0.111: -H 'end-user: lucy' 'http://reviews:9080/?show=version'",
        Answer::Lines("v2"),
    ),
    row(
        "A broken edit is refused, with its place and field ...",
        "sed -i 's/weight: 50/weight: fifty/' config/reviews.yaml; sleep 0.5; grep reviews.yaml: logs/tiphys.log | tail -n 1",
        Answer::Has(&["reviews.yaml:18:", "spec.http[1].route[0].weight", "fifty"]),
    ),
    row(
        "... and the mesh goes on with what it had",
        "curl -s --connect-to ::127.0.0.111: 'http://reviews:9080/?show=version&n=[1-200]' | sort | uniq -c",
        Answer::Even(&["v1", "v3"]),
    ),
    row(
        "Mended, the file counts again",
        "sed -i 's/weight: fifty/weight: 50/; s/lucy/jason/' config/reviews.yaml; sleep 0.5; curl -s --connect-to ::127.0.0.111: -H 'end-user: jason' 'http://reviews:9080/?show=version'",
        Answer::Lines("v2"),
    ),
];

impl Answer {
    /// What the demo prints as the answer to expect.
    pub fn describe(&self) -> String {
        match self {
            Answer::Lines(lines) => (*lines).to_owned(),
            Answer::OneOf(answers) => answers.join("   or   "),
            Answer::Has(parts) => format!("a line with {}", parts.join(" and ")),
            Answer::Even(names) => format!("about as many {}", names.join(" as ")),
        }
    }

    /// Whether `output` is this answer.
    pub fn matches(&self, output: &str) -> bool {
        let output = output.trim();
        match self {
            Answer::Lines(lines) => output == *lines,
            Answer::OneOf(answers) => answers.contains(&output),
            Answer::Has(parts) => output.lines().any(|line| parts.iter().all(|part| line.contains(part))),
            Answer::Even(names) => even(names, output),
        }
    }
}

/// Whether `uniq -c` has counted exactly these names, each about as often as the others: within a third of an even share, which a
/// fair split of 200 misses once in 400,000 times.
fn even(names: &[&str], output: &str) -> bool {
    let counted: Vec<(&str, usize)> = output
        .lines()
        .filter_map(|line| line.trim().split_once(' '))
        .filter_map(|(count, name)| Some((name, count.parse().ok()?)))
        .collect();
    let share = counted.iter().map(|(_, count)| count).sum::<usize>() / names.len();
    counted.len() == names.len()
        && counted.len() == output.lines().count()
        && counted.iter().all(|(name, count)| names.contains(name) && count.abs_diff(share) * 3 <= share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_even_split_is_told_from_others() {
        let answer = Answer::Even(&["v1", "v3"]);
        assert!(answer.matches("     93 v1\n    107 v3\n"));
        assert!(!answer.matches("    200 v1\n"));
        assert!(!answer.matches("     50 v1\n    150 v3\n"));
        assert!(!answer.matches("     90 v1\n     90 v3\n     20 no healthy upstream\n"));
        assert!(!answer.matches(""));
    }

    #[test]
    fn titles_and_commands_are_unique() {
        let rows: Vec<_> = CHAPTERS.iter().flat_map(|chapter| chapter.rows).collect();
        for (index, row) in rows.iter().enumerate() {
            assert!(rows[..index].iter().all(|other| other.title != row.title), "{}", row.title);
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
//! The language, construct by construct; what is expected is what Go's text/template writes.

use serde_json::json;

use super::{MapKind, Template, Value};

fn data() -> Value {
    let any = |json| Value::from_json(&json, MapKind::Any);
    let labels: std::collections::BTreeMap<String, String> = [("app".to_owned(), "web".to_owned())].into();
    let pod = json!({
        "serviceAccountName": "bookinfo",
        "containers": [
            {"name": "app", "ports": [{"containerPort": 80, "name": "http"}, {"containerPort": 53, "protocol": "UDP"}]},
            {"name": "istio-proxy"}
        ]
    });
    Value::map(
        MapKind::Closed("Data", &["Absent"]),
        [
            (
                "Values",
                any(
                    json!({"a": {"b": 1, "list": [1, 2, 3], "empty": {}, "yes": true, "no": false, "text": "x", "null": null}}),
                ),
            ),
            (
                "ObjectMeta",
                Value::map(
                    MapKind::Closed("ObjectMeta", &["name", "namespace"]),
                    [("labels", Value::texts(&labels)), ("annotations", Value::texts(&labels))],
                ),
            ),
            ("Spec", Value::from_json(&pod, MapKind::Open)),
            ("Hold", Value::Unset),
            ("Mode", Value::text("TPROXY")),
        ],
    )
}

fn run(text: &str) -> Result<String, String> {
    let template = Template::parse("t", text).map_err(|error| error.to_string())?;
    template.execute(&data()).map_err(|error| error.to_string())
}

#[track_caller]
fn gives(text: &str, wanted: &str) {
    assert_eq!(run(text).as_deref(), Ok(wanted), "{text}");
}

#[track_caller]
fn fails(text: &str, wanted: &str) {
    assert_eq!(run(text).expect_err(text), wanted, "{text}");
}

#[test]
fn text_and_trimming() {
    gives("a\n{{ 1 }}\nb", "a\n1\nb");
    gives("a \n {{- 1 }} b", "a1 b");
    gives("a {{ 1 -}} \n\t b", "a 1b");
    gives("a {{- 1 -}} b", "a1b");
    gives("a {{/* a comment }} */}} b", "a  b");
    gives("a {{- /* a comment */ -}} b", "ab");
    gives("{{\n  1\n}}", "1");
    gives("{{- /* head\n of two lines */}}\nx", "\nx");
    // Only a minus with a space trims; without, it is a sign.
    gives("a {{-3}} b", "a -3 b");
    gives("{{ \"}}\" }}", "}}");
}

#[test]
fn literals_and_printing() {
    gives("{{ \"a\\tb\\u00e9\\x41\" }}{{ `raw\\n` }}{{ 'a' }}", "a\tbéAraw\\n97");
    gives("{{ 1 }} {{ 0x10 }} {{ 1.5 }} {{ 1e3 }} {{ true }} {{ print nil }}", "1 16 1.5 1000 true <nil>");
    gives(
        "{{ .Values.a.list }} {{ .Values.a.empty }} {{ .Values.nope }} {{ .Values.a.null }}",
        "[1 2 3] map[] <no value> <no value>",
    );
    gives("{{ .Values.nope.deeper.still }}", "<no value>");
    gives("{{ print 1 2 `a` `b` 3 }} {{ println `a` 1 }}", "1 2ab3 a 1\n");
    gives(
        r#"{{ printf "%s|%5d|%-4s|%04d|%q|%t|%v|%%|%.2f|%x" "a" 7 "b" 42 "c\"" true 1.5 2.0 255 }}"#,
        "a|    7|b   |0042|\"c\\\"\"|true|1.5|%|2.00|ff",
    );
    gives(
        r#"{{ printf "%d" "x" }} {{ printf "%s" }} {{ printf "x" 1 }}"#,
        "%!d(string=x) %!s(MISSING) x%!(EXTRA int=1)",
    );
}

#[test]
fn fields_of_structs_and_maps() {
    gives("{{ .Spec.ServiceAccountName }} {{ .ObjectMeta.Labels.app }} [{{ .ObjectMeta.Name }}]", "bookinfo web []");
    gives(
        "[{{ .Spec.NodeName }}] {{ eq .Spec.NodeName \"\" }} {{ not .Spec.HostNetwork }} {{ len .Spec.Volumes }}",
        "[] true true 0",
    );
    gives("{{ (index .Spec.Containers 0).Name }} {{ (.Values.a).b }} {{ $.Values.a.b }}", "app 1 1");
    gives(
        "[{{ index .ObjectMeta.Labels `none` }}] {{ index .Values.a `none` }} {{ index .Values.a.list 1 }}",
        "[] <no value> 2",
    );
    // Getters, wrapped scalars and enums of protobuf messages.
    gives("{{ .GetMode }} {{ .Mode.String }} [{{ .Hold.GetValue }}] [{{ .GetHold.GetX.GetY }}]", "TPROXY TPROXY [] []");
    fails("{{ .Nope }}", "template t:1:4: Data has no field Nope");
    fails("\n  {{ .ObjectMeta.Lables.app }}", "template t:2:6: ObjectMeta has no field Lables");
    fails("{{ .Mode.Length }}", "template t:1:4: a text has no field Length");
    fails("{{ index .Values.a.list 7 }}", "template t:1:4: index: index 7 is out of range: the list has 3 items");
}

#[test]
fn conditions() {
    gives("{{ if .Values.a.yes }}1{{ else }}2{{ end }}{{ if .Values.a.no }}1{{ else }}2{{ end }}", "12");
    gives("{{ if false }}1{{ else if .Values.a.empty }}2{{ else if .Values.a.list }}3{{ else }}4{{ end }}", "3");
    gives(
        "{{ with .Values.a.text }}{{ . }}{{ end }}{{ with .Values.a.none }}no{{ else }}{{ .Mode }}{{ end }}",
        "xTPROXY",
    );
    gives("{{ with .Values.none }}1{{ else with .Values.a.b }}{{ . }}{{ else }}3{{ end }}", "1");
    gives("{{ with $x := 7 }}{{ $x }}{{ end }}", "7");
    gives("{{ or false 0 \"\" }}|{{ or 0 `a` (fail `no`) }}|{{ and 0 (fail `no`) }}|{{ and 1 2 }}", "|a|0|2");
    gives(
        "{{ eq 1 2 1 }} {{ ne `a` `b` }} {{ lt 1 2 }} {{ le 2 2 }} {{ gt `b` `a` }} {{ ge 1 2 }} {{ eq 1 1.0 }}",
        "true true true true true false true",
    );
    gives("{{ eq .Values.none `x` }} {{ ne (.Values.none).deeper true }}", "false true");
    fails("{{ eq 1 `a` }}", "template t:1:4: eq: a whole number and a text are of different types");
    fails(
        "{{ if eq .Values.a .Values.a }}{{ end }}",
        "template t:1:7: eq: a map and a map cannot be compared: use deepEqual",
    );
}

#[test]
fn ranges() {
    gives("{{ range .Values.a.list }}{{ . }},{{ end }}", "1,2,3,");
    gives("{{ range $i, $x := .Values.a.list }}{{ $i }}={{ $x }},{{ end }}", "0=1,1=2,2=3,");
    gives("{{ range $x := .Values.a.list }}{{ $x }}{{ end }}{{ range 3 }}{{ . }}{{ end }}", "123012");
    // Maps by key.
    gives("{{ range $k, $v := dict `b` 2 `a` 1 }}{{ $k }}{{ $v }}{{ end }}", "a1b2");
    gives(
        "{{ range .Values.none }}1{{ else }}none{{ end }}{{ range .Spec.Volumes }}1{{ else }}none{{ end }}",
        "nonenone",
    );
    gives("{{ range .Values.a.list }}{{ if eq . 2 }}{{ continue }}{{ end }}{{ . }}{{ end }}", "13");
    gives("{{ range .Values.a.list }}{{ if eq . 2 }}{{ break }}{{ end }}{{ . }}{{ end }}", "1");
    gives(
        "{{ range .Spec.Containers }}{{ .Name }}{{ range .Ports }}:{{ .ContainerPort }}{{ end }};{{ end }}",
        "app:80:53;istio-proxy;",
    );
    fails("{{ range `abc` }}{{ end }}", "template t:1:10: cannot range over a text");
    fails("{{ break }}", "template t:1:4: {{break}} is outside of a range");
}

#[test]
fn variables() {
    gives("{{ $a := 1 }}{{ $a }}{{ $a = 2 }}{{ $a }}", "12");
    gives("{{ $a := 1 }}{{ if true }}{{ $a := 2 }}{{ $a }}{{ end }}{{ $a }}", "21");
    gives("{{ $a := 1 }}{{ if true }}{{ $a = 2 }}{{ end }}{{ $a }}", "2");
    gives(
        "{{ $l := list }}{{ range .Spec.Containers }}{{ $l = append $l .Name }}{{ end }}{{ $l | join `,` }}",
        "app,istio-proxy",
    );
    gives(
        "{{ $first := true }}{{ range .Values.a.list }}{{ if not $first }},{{ end }}{{ . }}{{ $first = false }}{{ end }}",
        "1,2,3",
    );
    gives("{{ $x := .Values }}{{ $x.a.b }}", "1");
    fails("{{ $no }}", "template t:1:4: undefined variable $no");
    fails("{{ if true }}{{ $x := 1 }}{{ end }}{{ $x }}", "template t:1:39: undefined variable $x");
    fails("{{ $x = 1 }}", "template t:1:4: undefined variable $x: declare it with :=");
}

#[test]
fn pipelines() {
    gives("{{ `a` | printf `%s%s` `b` }} {{ 1 | eq 1 }}", "ba true");
    gives(
        "{{ index .ObjectMeta.Labels `none` | default (index .ObjectMeta.Labels `app`) | default `x` | quote }}",
        "\"web\"",
    );
    gives("{{ (printf `%s` `x`) }}{{ print (len (list 1 2)) }}", "x2");
    gives("{{ .Mode | print | upper | trunc 2 }}", "TP");
    fails("{{ `a` | .Mode }}", "template t:1:10: this value is no function and takes no arguments");
    fails("{{ `a` | `b` }}", "template t:1:10: only a function can take the value that is piped into it");
    fails("{{ 1 2 }}", "template t:1:6: a value that is no function has no arguments");
    fails("{{ len }}", "template t:1:4: len takes 1 arguments, not 0");
}

#[test]
fn templates() {
    gives("{{ define `x` }}[{{ . }}]{{ end }}{{ template `x` 1 }}{{ template `x` }}", "[1][<no value>]");
    gives("{{ template `x` .Mode }}{{ define `x` -}} {{ . }} {{- end }}", "TPROXY");
    gives("{{ block `x` .Mode }}<{{ . }}>{{ end }}{{ template `x` 2 }}", "<TPROXY><2>");
    gives("{{ define `x` }}{{ $.Mode }}{{ end }}{{ template `x` . }}", "TPROXY");
    fails("{{ template `x` }}", "template t:1:4: template \"x\" is not defined");
    fails("{{ define `x` }}1{{ end }}{{ define `x` }}2{{ end }}", "template t:1:27: template \"x\" is defined twice");
    fails("{{ $a := 1 }}{{ define `x` }}{{ $a }}{{ end }}", "template t:1:33: undefined variable $a");
    fails(
        "{{ define `x` }}{{ template `x` }}{{ end }}{{ template `x` }}",
        "template t:1:17: templates call each other more than 100 deep",
    );
}

#[test]
fn mistakes_are_named_with_their_place() {
    for (text, wanted) in [
        ("{{ nope }}", "template t:1:4: function nope is not defined"),
        ("a\n\n b {{ nope 1 }}", "template t:3:7: function nope is not defined"),
        ("{{ now }}", "template t:1:4: function now is not supported: what is injected must not depend on the time"),
        ("{{ 1", "template t:1:1: this action is not closed: }} is missing"),
        ("{{ \"a }}", "template t:1:4: this text is not closed: \" is missing"),
        ("{{/* a", "template t:1:1: this comment is not closed: */ is missing"),
        ("{{ if 1 }}", "template t:1:1: {{if}} is not closed: {{end}} is missing"),
        ("{{ end }}", "template t:1:1: unexpected {{end}}: nothing is open"),
        ("{{ if 1 }}{{ else }}{{ else }}{{ end }}", "template t:1:21: unexpected {{else}}"),
        ("{{ (len 1 }}", "template t:1:4: this parenthesis is not closed"),
        ("{{ }}", "template t:1:4: a value is missing in action"),
        ("{{ 1 | }}", "template t:1:8: a value is missing in action"),
        ("{{ not 1 2 }}", "template t:1:4: not takes 1 arguments, not 2"),
        ("{{ if }}{{ end }}", "template t:1:7: a value is missing in if"),
        ("{{ 1x }}", "template t:1:4: 1x is no number that is read here"),
        ("{{ ! }}", "template t:1:4: unexpected character '!'"),
        ("{{ `a`.b }}", "template t:1:7: unexpected dot"),
        ("{{ fail `stop here` }}", "template t:1:4: fail: stop here"),
        ("é {{ fail `stop` }}", "template t:1:6: fail: stop"),
        ("{{ contains 1 `a` }}", "template t:1:4: contains: argument 1 is a whole number: a text is needed"),
    ] {
        fails(text, wanted);
    }
    let deep = "{{ if true }}".repeat(200);
    assert!(run(&deep).unwrap_err().contains("nested deeper than 100 levels"));
    let deep = format!("{{{{ {}1{} }}}}", "(".repeat(5000), ")".repeat(5000));
    assert!(run(&deep).unwrap_err().contains("nested deeper than 100 levels"));
}

#[test]
fn endless_templates_end() {
    let error = run("{{ range 900 }}{{ range 900 }}{{ range 900 }}{{ end }}{{ end }}{{ end }}").unwrap_err();
    assert!(error.ends_with("the template does not come to an end"), "{error}");
    let error = run("{{ range 100 }}{{ range 100 }}{{ repeat 1000 `x` }}{{ end }}{{ end }}").unwrap_err();
    assert!(error.contains("writes more than"), "{error}");
}

#[test]
fn sprig() {
    for (text, wanted) in [
        ("{{ list 1 `a` nil | quote }}{{ quote 1 nil `b` }}{{ squote `a` }}", "\"[1 a <nil>]\"\"1\" \"b\"'a'"),
        (
            "{{ trimAll `-_.` `-a-b_` }} {{ trimPrefix `a` `ab` }} {{ trimSuffix `b` `ab` }} {{ trim ` x ` }}",
            "a-b b a x",
        ),
        ("{{ trunc 2 `abc` }} {{ trunc -2 `abc` }} {{ abbrev 5 `abcdefg` }} {{ substr 1 3 `abcd` }}", "ab bc ab... bc"),
        (
            "{{ replace `a` `b` `aXa` }} {{ repeat 3 `ab` }} {{ title `a b` }} {{ nospace ` a b ` }} {{ upper `a` }}",
            "bXb ababab A B ab A",
        ),
        ("{{ hasPrefix `a` `ab` }} {{ hasSuffix `a` `ab` }} {{ contains `b` `abc` }}", "true false true"),
        ("{{ splitList `,` `a,b` }} {{ (split `,` `a,b`)._1 }} {{ join `-` (list 1 2) }}", "[a b] b 1-2"),
        ("{{ nindent 2 `a\nb` }}|{{ indent 2 `a\nb` }}", "\n  a\n  b|a\n  b"),
        ("{{ dict `a` 1 `b` 2 | keys }} {{ hasKey (dict `a` 1) `a` }} {{ get (dict `a` 1) `a` }}", "[a b] true 1"),
        (
            "{{ merge (dict `a` 1) (dict `a` 2 `b` 3) }} {{ mergeOverwrite (dict `a` 1) (dict `a` 2) }}",
            "map[a:1 b:3] map[a:2]",
        ),
        ("{{ dig `a` `b` 7 (dict `a` (dict `b` 1)) }} {{ dig `a` `x` 7 (dict `a` (dict)) }}", "1 7"),
        ("{{ pick (dict `a` 1 `b` 2) `a` }} {{ omit (dict `a` 1 `b` 2) `a` }}", "map[a:1] map[b:2]"),
        (
            "{{ first (list 1 2) }}{{ last (list 1 2) }}{{ rest (list 1 2 3) }}{{ initial (list 1 2) }}{{ reverse (list 1 2) }}",
            "12[2 3][1][2 1]",
        ),
        (
            "{{ uniq (list 1 1 2) }} {{ without (list 1 2) 1 }} {{ has 1 (list 1) }} {{ concat (list 1) (list 2) }} {{ sortAlpha (list `b` `a`) }}",
            "[1 2] [2] true [1 2] [a b]",
        ),
        (
            "{{ add 1 2 3 }} {{ sub 3 1 }} {{ mul 2 3 }} {{ div 7 2 }} {{ mod 7 2 }} {{ max 1 3 2 }} {{ min 1 2 }} {{ int `7` }} {{ add1 1 }}",
            "6 2 6 3 1 3 1 7 2",
        ),
        (
            "{{ until 3 }} {{ untilStep 0 6 2 }} {{ slice (list 1 2 3) 1 }} {{ slice `abc` 1 2 }}",
            "[0 1 2] [0 2 4] [2 3] b",
        ),
        (
            "{{ toJson (dict `a` (list 1 `x`)) }} {{ (fromJson `{\"a\":[1]}`).a }} {{ b64enc `a` }} {{ b64dec `YQ==` }}",
            "{\"a\":[1,\"x\"]} [1] YQ== a",
        ),
        (
            "{{ sha256sum `` | trunc 8 }} {{ kindOf (list) }} {{ kindIs `map` (dict) }} {{ typeOf `a` }}",
            "e3b0c442 slice true string",
        ),
        (
            "{{ ternary `a` `b` true }} {{ coalesce `` 0 `c` }} {{ empty `` }} {{ default `d` `` }} {{ `g` | default `d` }}",
            "a c true d g",
        ),
        (
            "{{ regexMatch `^a+$` `aa` }} {{ regexReplaceAll `a(b)` `abab` `$1` }} {{ regexFind `b+` `abbb` }}",
            "true bb bbb",
        ),
        ("{{ base `a/b.c` }} {{ dir `a/b.c` }} {{ ext `a/b.c` }}", "b.c a .c"),
    ] {
        gives(text, wanted);
    }
    fails("{{ required `say so` .Values.none }}", "template t:1:4: required: say so");
    fails("{{ div 1 0 }}", "template t:1:4: div: the result is no whole number of 64 bits");
    fails(
        "{{ set (dict) `a` 1 }}",
        "template t:1:4: function set is not supported: it changes a map in place: use merge, pick or omit, which give a new one",
    );
}

#[test]
fn functions_of_injection() {
    for (text, wanted) in [
        (
            "{{ annotation .ObjectMeta `app` 1 }} {{ annotation .ObjectMeta `none` 15020 }} {{ annotation .ObjectMeta `none` .Hold }}",
            "web 15020 ",
        ),
        ("{{ isset .ObjectMeta.Annotations `app` }} {{ isset .ObjectMeta.Annotations `none` }}", "true false"),
        ("{{ valueOrDefault `` 1 }} {{ valueOrDefault .Values.none 2 }} {{ valueOrDefault 0 3 }}", "1 2 0"),
        (
            "{{ excludeInboundPort 15020 `` }} {{ excludeInboundPort `15020` `1, 2` }} {{ excludeInboundPort 2 `1,2` }} {{ excludeInboundPort 0 `7` }}",
            "15020 1,2,15020 1,2 7",
        ),
        ("{{ includeInboundPorts .Spec.Containers }} {{ applicationPorts .Spec.Containers }}", "80 80"),
        (
            "{{ formatDuration `45s` }} {{ formatDuration `90s` }} {{ formatDuration `1.5s` }} {{ formatDuration `0.1s` }} {{ formatDuration `3600s` }}",
            "45s 1m30s 1.5s 100ms 1h0m0s",
        ),
        (
            "{{ structToJSON (index .Spec.Containers 0).Ports }} {{ structToJSON .Hold }} {{ toJSON .ObjectMeta.Labels }}",
            "[{\"containerPort\":80,\"name\":\"http\"},{\"containerPort\":53,\"protocol\":\"UDP\"}] {} {\"app\":\"web\"}",
        ),
        (
            "{{ range $k, $v := fromJSON `{\"b\": {\"x\": 1}, \"a\": {}}` }}{{ $k }}:{{ toYaml $v }}{{ end }}",
            "a:{}\nb:x: 1\n",
        ),
        ("{{ omitNil (fromJson `{\"a\":null,\"b\":{\"c\":null},\"d\":{\"e\":1,\"f\":null}}`) }}", "map[d:map[e:1]]"),
        ("{{ mergeMaps .ObjectMeta.Labels (strdict `x` `y`) | toJsonMap }}", "{\"app\":\"web\",\"x\":\"y\"}"),
        (
            "{{ directory `/etc/a/b.pem` }} {{ toLower `Deployment` }} {{ env `TIPHYS_NO_SUCH` `d` }}",
            "/etc/a/ deployment d",
        ),
        (
            "{{ appendMultusNetwork `` `default/istio-cni` }}|{{ appendMultusNetwork `a` `istio-cni` }}|{{ appendMultusNetwork `a, istio-cni` `istio-cni` }}",
            "default/istio-cni|a, istio-cni|a, istio-cni",
        ),
        (
            "{{ appendMultusNetwork `[{\"name\":\"a\"}]` `default/istio-cni` }}",
            "[{\"name\":\"a\"}, {\"name\":\"istio-cni\",\"namespace\":\"default\"}]",
        ),
    ] {
        gives(text, wanted);
    }
}

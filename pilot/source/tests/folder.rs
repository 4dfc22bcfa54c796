// SPDX-License-Identifier: Apache-2.0
//! What only folders do: half-written files, renames, links, folders that come and go.

mod common;

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use common::{Bench, PACE, vs};
use tiphys_source::dir::{DirSource, Pace, Text, TextFile, read_once};
use tiphys_source::{Source, SourceError};

/// Long enough for anything that was going to happen to have happened.
async fn while_() {
    tokio::time::sleep(PACE.removal * 2).await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_file_that_is_being_written_is_not_read() {
    let both = format!("{}---\n{}", vs("a", "1"), vs("b", "1"));
    let mut bench = Bench::dir(&[("a.yaml", &both)]).await;
    // An editor truncates and takes its time; what is there in between would parse.
    let mut file = File::create(bench.root().join("a.yaml")).unwrap();
    while_().await;
    file.write_all(vs("a", "2").as_bytes()).unwrap();
    while_().await;
    bench.quiet().await;
    assert_eq!(bench.names(), ["a=1", "b=1"]);
    file.write_all(format!("---\n{}", vs("b", "2")).as_bytes()).unwrap();
    drop(file);
    let batch = bench.next().await;
    assert_eq!(batch.changes.len(), 2, "one save is one batch");
    assert_eq!(bench.names(), ["a=2", "b=2"]);
    assert!(bench.reports.is_empty());
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_writer_that_never_closes_is_read_in_the_end() {
    let mut bench = Bench::dir_with(&[], Pace { writer: Duration::from_millis(200), ..PACE }).await;
    let mut file = File::create(bench.root().join("a.yaml")).unwrap();
    file.write_all(vs("a", "1").as_bytes()).unwrap();
    bench.until("a", |b| b.names() == ["a=1"]).await;
    drop(file);
}

#[tokio::test]
async fn a_file_deleted_and_created_again_tears_nothing() {
    let mut bench = Bench::dir(&[("a.yaml", &vs("a", "1"))]).await;
    bench.remove("a.yaml");
    tokio::time::sleep(Duration::from_millis(40)).await;
    bench.put("a.yaml", &vs("a", "2"));
    let batch = bench.next().await;
    assert!(batch.changes.iter().all(|c| c.object.is_some()), "{batch:?}");
    bench.quiet().await;
    assert_eq!(bench.names(), ["a=2"]);
}

#[tokio::test]
async fn an_emptied_file_is_given_time_and_then_believed() {
    let mut bench = Bench::dir(&[("a.yaml", &vs("a", "1"))]).await;
    let start = Instant::now();
    bench.put("a.yaml", "");
    bench.until("gone", |b| b.objects.is_empty()).await;
    assert!(start.elapsed() >= PACE.removal);
}

#[tokio::test]
async fn an_atomic_rename_is_one_change() {
    let mut bench = Bench::dir(&[("a.yaml", &vs("a", "1"))]).await;
    let root = bench.root();
    fs::write(root.join(".a.yaml.tmp"), vs("a", "2")).unwrap();
    fs::rename(root.join(".a.yaml.tmp"), root.join("a.yaml")).unwrap();
    let batch = bench.next().await;
    assert_eq!((batch.changes.len(), bench.names()), (1, vec!["a=2".to_owned()]));
}

#[tokio::test]
async fn the_same_text_again_changes_nothing() {
    let mut bench = Bench::dir(&[("a.yaml", &vs("a", "1"))]).await;
    bench.put("a.yaml", &vs("a", "1"));
    bench.put("b.yaml", &vs("b", "1"));
    let batch = bench.next().await;
    assert_eq!(batch.changes.len(), 1, "{batch:?}");
}

#[tokio::test]
async fn a_mounted_config_map_is_swapped_whole() {
    let mut bench = Bench::dir(&[]).await;
    let root = bench.root();
    let mount = |version: &str| {
        let dir = root.join(format!("..{version}"));
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("a.yaml"), vs("a", version)).unwrap();
        symlink(format!("..{version}"), root.join("..data_tmp")).unwrap();
        fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
    };
    mount("1");
    symlink("..data/a.yaml", root.join("a.yaml")).unwrap();
    bench.until("a", |b| b.names() == ["a=1"]).await;
    mount("2");
    fs::remove_dir_all(root.join("..1")).unwrap();
    let batch = bench.next().await;
    assert_eq!((batch.changes.len(), bench.names()), (1, vec!["a=2".to_owned()]));
    bench.quiet().await;
    assert_eq!(bench.names(), ["a=2"]);
}

#[tokio::test]
async fn folders_come_and_go() {
    let mut bench = Bench::dir(&[]).await;
    let root = bench.root();
    fs::create_dir_all(root.join("x/y")).unwrap();
    fs::write(root.join("x/y/a.yaml"), vs("a", "1")).unwrap();
    bench.until("a", |b| b.names() == ["a=1"]).await;
    fs::write(root.join("x/y/b.yaml"), vs("b", "1")).unwrap();
    bench.until("b", |b| b.names() == ["a=1", "b=1"]).await;
    // The folder is renamed: its objects move and stay.
    fs::rename(root.join("x"), root.join("z")).unwrap();
    while_().await;
    bench.quiet().await;
    assert_eq!(bench.names(), ["a=1", "b=1"]);
    assert!(bench.reports.is_empty(), "{:?}", bench.lines());
    fs::write(root.join("z/y/b.yaml"), vs("b", "2")).unwrap();
    bench.until("b changed", |b| b.names() == ["a=1", "b=2"]).await;
    fs::remove_dir_all(root.join("z")).unwrap();
    bench.until("all gone", |b| b.objects.is_empty()).await;
}

#[tokio::test]
async fn what_a_link_leads_to_is_watched() {
    let outside = tempfile::tempdir().unwrap();
    let target = outside.path().join("a.yaml");
    fs::write(&target, vs("a", "1")).unwrap();
    let mut bench = Bench::dir(&[]).await;
    symlink(&target, bench.root().join("a.yaml")).unwrap();
    bench.until("a", |b| b.names() == ["a=1"]).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    fs::write(&target, vs("a", "2")).unwrap();
    bench.until("a changed", |b| b.names() == ["a=2"]).await;
}

#[tokio::test]
async fn a_root_that_vanishes_keeps_the_picture() {
    let pace = Pace { writer: Duration::from_millis(100), poll: Duration::from_millis(200), ..PACE };
    let mut bench = Bench::dir_with(&[("a.yaml", &vs("a", "1"))], pace).await;
    let (root, away) = (bench.root(), bench.root().with_extension("away"));
    fs::rename(&root, &away).unwrap();
    bench.until("report", |b| !b.reports.is_empty()).await;
    assert_eq!(bench.names(), ["a=1"]);
    fs::rename(&away, &root).unwrap();
    bench.until("mended", |b| b.reports.is_empty()).await;
    assert_eq!(bench.names(), ["a=1"]);
    bench.put("a.yaml", &vs("a", "2"));
    bench.until("a changed", |b| b.names() == ["a=2"]).await;
}

#[tokio::test]
async fn bytes_that_are_no_text_are_reported_and_mended() {
    let mut bench = Bench::dir(&[("a.yaml", &vs("a", "1"))]).await;
    fs::write(bench.root().join("a.yaml"), b"a: \xff\n").unwrap();
    bench.until("report", |b| !b.reports.is_empty()).await;
    assert!(bench.lines()[0].contains("not UTF-8 from byte 3"), "{:?}", bench.lines());
    assert_eq!(bench.names(), ["a=1"]);
    bench.put("a.yaml", &vs("a", "1"));
    bench.until("mended", |b| b.reports.is_empty()).await;
    assert_eq!(bench.names(), ["a=1"]);
}

#[tokio::test]
async fn polling_finds_what_events_do_not_tell() {
    // Nothing settles for a minute, so that only the clock is left.
    let pace = Pace {
        settle: Duration::from_secs(60),
        settle_max: Duration::from_secs(60),
        poll: Duration::from_millis(100),
        ..PACE
    };
    let mut bench = Bench::dir_with(&[("a.yaml", &vs("a", "1"))], pace).await;
    bench.put("a.yaml", &vs("a", "2"));
    bench.until("a changed", |b| b.names() == ["a=2"]).await;
}

#[tokio::test]
async fn a_missing_folder_is_an_error() {
    let (sink, _batches) = tokio::sync::mpsc::channel(1);
    let error = Box::new(DirSource::new("/nonexistent/folder")).run(sink).await.unwrap_err();
    assert!(
        matches!(&error, SourceError::Folder { .. }) && error.to_string().contains("/nonexistent/folder"),
        "{error}"
    );
    assert!(read_once("/nonexistent/folder").is_err());
}

#[test]
fn large_inputs() {
    let dir = tempfile::tempdir().unwrap();
    // An object of 10 MB beside a file of a thousand documents.
    let blob = "x".repeat(10 << 20);
    fs::write(
        dir.path().join("big.yaml"),
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: big}}\ndata:\n  a: {blob}\n"),
    )
    .unwrap();
    let many: String = (0..1000).map(|i| format!("{}---\n", vs(&format!("a{i:04}"), "1"))).collect();
    fs::write(dir.path().join("many.yaml"), many).unwrap();
    let batch = read_once(dir.path()).unwrap();
    assert_eq!((batch.changes.len(), batch.reports.len()), (1001, 0));
}

#[tokio::test]
async fn a_single_text_is_watched_from_before_it_exists() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config/mesh");
    let pace = Pace { writer: Duration::from_millis(50), ..PACE };
    let mut file = TextFile::watch(&path, pace);
    assert_eq!(file.next().await, Text::Missing);
    fs::create_dir(dir.path().join("config")).unwrap();
    fs::write(&path, "a: 1").unwrap();
    assert_eq!(file.next().await, Text::Is("a: 1".into()));
    fs::write(&path, "a: 2").unwrap();
    assert_eq!(file.next().await, Text::Is("a: 2".into()));
    fs::remove_file(&path).unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    fs::write(&path, "a: 3").unwrap();
    assert_eq!(file.next().await, Text::Is("a: 3".into()));
    fs::remove_file(&path).unwrap();
    assert_eq!(file.next().await, Text::Missing);
}

//! Where the index and the charts of a `HelmRepository` over HTTP are, and how they are sent.

use std::collections::BTreeSet;
use std::io::Write as _;

use fairlead::api::source::v1::{Bucket, HelmChart, HelmRepository};
use fairlead::source::digest::sha256;
use fairlead_testbench::{ChartServer, S3Server, fixture_chart, package};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::scene::Scene;

fn chart(repository: &str) -> Value {
    json!({"chart": "nodejs", "interval": "10m", "sourceRef": {"kind": "HelmRepository", "name": repository}})
}

/// An index with one version of one chart, at this URL.
fn index(version: &str, url: &str) -> String {
    format!("apiVersion: v1\nentries:\n  nodejs:\n  - name: nodejs\n    version: {version}\n    urls: [\"{url}\"]\n")
}

fn compressed(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).expect("compress");
    encoder.finish().expect("compress")
}

#[tokio::test]
async fn redirects_are_followed_and_logins_stay_where_they_belong() {
    let old = ChartServer::builder().basic_auth("robot", "hunter2-of-the-old-one").start();
    let new = ChartServer::start();
    new.publish(&fixture_chart("nodejs"), "1.0.0");
    old.redirect_to(&new);
    let scene = Scene::start("redirects").await;
    scene.secret("login", &json!({"username": "robot", "password": "hunter2-of-the-old-one"}));
    scene.apply("HelmRepository", "open", &json!({"url": old.url(), "interval": "1s"}));
    let login = json!({"url": old.url(), "interval": "1s", "secretRef": {"name": "login"}});
    scene.apply("HelmRepository", "login", &login);
    for name in ["open", "login"] {
        scene.ready::<HelmRepository>(name).await;
        scene.apply("HelmChart", name, &chart(name));
        scene.ready_at::<HelmChart>(name, "1.0.0").await;
    }
    // A relative URL is one of the repository, wherever its index came from.
    let asked = old.requests();
    assert!(asked.contains(&"GET /nodejs-1.0.0.tgz".to_owned()), "{asked:?}");
    assert!(old.saw_credentials() && !new.saw_credentials(), "a redirect must not get to know the password");
    new.publish(&fixture_chart("nodejs"), "1.1.0");
    for name in ["open", "login"] {
        scene.ready_at::<HelmChart>(name, "1.1.0").await;
    }

    // One that leads back to itself ends.
    old.redirect_to(&old);
    scene.failed::<HelmRepository>("open", "FetchFailed", "redirect").await;
    scene.keeps_secret(&["hunter2"]).await;
}

#[tokio::test]
async fn queries_are_sent_and_never_told() {
    let server = ChartServer::start();
    let (_, archive) = package(&fixture_chart("nodejs"), "1.0.0");
    server.replace("nodejs-1.0.0.tgz", &archive);
    let scene = Scene::start("queries").await;
    let own = "nodejs-1.0.0.tgz?token=hunter2-of-the-chart";
    let absolute = format!("{}/{own}", server.url());
    for (number, (repository, url, asked)) in [
        ("/", own, "/nodejs-1.0.0.tgz?token=hunter2-of-the-chart"),
        ("", absolute.as_str(), "/nodejs-1.0.0.tgz?token=hunter2-of-the-chart"),
        ("/?key=hunter2-of-all", "nodejs-1.0.0.tgz", "/nodejs-1.0.0.tgz?key=hunter2-of-all"),
        ("/?key=hunter2-of-all", own, "/nodejs-1.0.0.tgz?token=hunter2-of-the-chart"),
    ]
    .into_iter()
    .enumerate()
    {
        server.replace("index.yaml", index("1.0.0", url).as_bytes());
        let (name, before) = (format!("case-{number}"), server.requests().len());
        scene.apply(
            "HelmRepository",
            &name,
            &json!({"url": format!("{}{repository}", server.url()), "interval": "10m"}),
        );
        scene.apply("HelmChart", &name, &chart(&name));
        scene.ready_at::<HelmChart>(&name, "1.0.0").await;
        let query = repository.trim_start_matches('/');
        let requests: BTreeSet<_> = server.requests().split_off(before).into_iter().collect();
        let wanted = [format!("GET /index.yaml{query}"), format!("GET {asked}")];
        assert_eq!(requests, BTreeSet::from(wanted), "{name}");
    }

    // What cannot be had is named without its query.
    server.replace("index.yaml", index("1.0.0", "missing.tgz?token=hunter2-of-the-chart").as_bytes());
    let spec = json!({"url": format!("{}/?key=hunter2-of-all", server.url()), "interval": "10m"});
    scene.apply("HelmRepository", "missing", &spec);
    scene.apply("HelmChart", "missing", &chart("missing"));
    scene.failed::<HelmChart>("missing", "FetchFailed", "/missing.tgz' answered 404").await;
    server.replace("index.yaml", index("1.0.0", "ftp://example.org/nodejs.tgz?token=hunter2-of-the-chart").as_bytes());
    scene.apply("HelmRepository", "ftp", &json!({"url": server.url(), "interval": "10m"}));
    scene.apply("HelmChart", "ftp", &chart("ftp"));
    scene.failed::<HelmChart>("ftp", "Stalled", "the invalid URL 'ftp://example.org/nodejs.tgz'").await;
    scene.keeps_secret(&["hunter2"]).await;
}

#[tokio::test]
async fn what_is_sent_compressed_is_read_and_packages_stay_as_they_are() {
    let server = ChartServer::start();
    server.publish(&fixture_chart("nodejs"), "1.0.0");
    let (_, archive) = package(&fixture_chart("nodejs"), "1.0.0");
    let file = "nodejs-1.0.0.tgz";
    let text = index("1.0.0", file);
    server.replace("index.yaml", &compressed(&text));
    // A server that goes by a file's name marks packages, too.
    for file in ["index.yaml", file] {
        server.mark_compressed(file);
    }
    let scene = Scene::start("compressed").await;
    scene.apply("HelmRepository", "charts", &json!({"url": server.url(), "interval": "1s"}));
    let first = scene.ready::<HelmRepository>("charts").await;
    assert_eq!(first.revision(), format!("sha256:{}", sha256(text.as_bytes())));
    assert_eq!(scene.download(&first.artifact.clone().expect("an artifact")).await, text.as_bytes());
    scene.apply("HelmChart", "one", &chart("charts"));
    let seen = scene.ready_at::<HelmChart>("one", "1.0.0").await;
    assert_eq!(scene.download(&seen.artifact.expect("an artifact")).await, archive, "the package as it is");

    let whole = compressed(&index("1.0.1", file));
    server.replace("index.yaml", &whole[..whole.len() - 6]);
    let seen = scene.failed::<HelmRepository>("charts", "FetchFailed", "what was sent compressed is damaged").await;
    assert_eq!(seen.artifact, first.artifact, "the last good one stays");
    server.replace("index.yaml", &compressed(&text));
    scene.ready_at::<HelmRepository>("charts", first.revision()).await;

    let store = S3Server::start();
    store.put("charts/nodejs-1.0.0.tgz", &archive);
    let bucket =
        json!({"endpoint": store.endpoint(), "bucketName": store.bucket(), "insecure": true, "interval": "1s"});
    scene.apply("Bucket", "bucket", &bucket);
    scene.ready::<Bucket>("bucket").await;
    let source = json!({"kind": "Bucket", "name": "bucket"});
    let spec = json!({"chart": format!("charts/{file}"), "interval": "10m", "sourceRef": source});
    scene.apply("HelmChart", "two", &spec);
    let seen = scene.ready_at::<HelmChart>("two", "1.0.0").await;
    assert_eq!(scene.download(&seen.artifact.expect("an artifact")).await, archive, "the object as it is");
}

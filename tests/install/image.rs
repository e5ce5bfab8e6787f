//! The image's root file system, made by the very script that the Dockerfile runs, with the operator in it: as its user,
//! on a read-only root, with a service account as a pod has it.

use std::path::{Path, PathBuf};
use std::process::Command;

use fairlead_testbench::daemon::Daemon;
use fairlead_testbench::ports::free_port;
use fairlead_testbench::tools::{run, tool, try_run, workspace};
use fairlead_testbench::{GitServer, Helm, KeyKind, SshKey, wait_for};
use serde_json::json;

use crate::site::{PATIENCE, Site, args, chart, is_ready};

/// Mounts what a pod has and leaves no way to change anything else, in a user namespace of its own.
const POD: &str = r#"
set -eu
root=$1 account=$2 chroot=$3; shift 3
mount --bind "$root" "$root"
mount --rbind /proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/tmp"
mount -t tmpfs tmpfs "$root/var/lib/fairlead"
mount --bind "$account" "$root/var/run/secrets/kubernetes.io/serviceaccount"
mount -o remount,bind,ro "$root"
exec setpriv --no-new-privs --ambient-caps=-all,+sys_chroot --inh-caps=-all,+sys_chroot env -i "$@"
"#;

struct Image {
    user: String,
    env: Vec<String>,
    entrypoint: String,
    programs: Vec<(String, String)>,
}

/// What the Dockerfile says.
fn image() -> Image {
    let text = std::fs::read_to_string(workspace().join("deploy/Dockerfile")).expect("reads").replace("\\\n", " ");
    let last = |instruction: &str| -> String {
        let found = text.lines().rev().find_map(|line| line.strip_prefix(instruction));
        found.unwrap_or_else(|| panic!("the Dockerfile has no {instruction}")).trim().to_owned()
    };
    // COPY --from=tools /links/helm4 /programs/helm
    let programs = text.lines().filter(|line| line.starts_with("COPY --from=") && line.contains(" /programs/"));
    let programs = programs.map(|line| {
        let paths: Vec<&str> = line.split_whitespace().skip(2).collect();
        let name = |path: &str| path.rsplit('/').next().expect("a name").to_owned();
        (name(paths[0]), name(paths[1]))
    });
    assert!(
        text.contains("\nRUN /rootfs.sh /rootfs /programs /LICENSE\n")
            && text.contains("\nCOPY --from=system /rootfs /\n")
    );
    Image {
        user: last("USER "),
        env: last("ENV ").split_whitespace().map(str::to_owned).collect(),
        entrypoint: last("ENTRYPOINT ").trim_matches(['[', ']', '"']).to_owned(),
        programs: programs.collect(),
    }
}

/// The root file system, made as the Dockerfile makes it.
fn root(site: &Site, image: &Image) -> PathBuf {
    let folder = site.bench.folder().join("image");
    let programs = folder.join("programs");
    std::fs::create_dir_all(&programs).expect("makes a folder");
    for (from, to) in &image.programs {
        let from = if from == "fairlead" { PathBuf::from(env!("CARGO_BIN_EXE_fairlead")) } else { tool(from) };
        std::os::unix::fs::symlink(from, programs.join(to)).expect("links");
    }
    run(Command::new(workspace().join("deploy/rootfs.sh"))
        .arg(folder.join("root"))
        .arg(&programs)
        .arg(workspace().join("LICENSE"))
        .env("SOURCE_DATE_EPOCH", "1"));
    folder.join("root")
}

/// What the kubelet puts into a pod.
fn account(site: &Site) -> PathBuf {
    let folder = site.bench.folder().join("account");
    std::fs::create_dir_all(&folder).expect("makes a folder");
    let token = site.bench.token_of_account(&site.namespace, "fairlead");
    let authority = std::fs::read_to_string(site.bench.folder().join("ca.crt")).expect("reads");
    for (name, text) in [("token", &token), ("ca.crt", &authority), ("namespace", &site.namespace)] {
        std::fs::write(folder.join(name), text).expect("writes");
    }
    folder
}

fn which(program: &str) -> String {
    run(Command::new("sh").args(["-c", &format!("PATH=$PATH:/usr/sbin:/sbin command -v {program}")])).trim().to_owned()
}

/// The arguments of `unshare` that run something in the root file system as in a pod.
fn pod(image: &Image, root: &Path, account: &Path, env: &[String], arguments: &[String]) -> Vec<String> {
    let (user, group) = image.user.split_once(':').expect("user and group");
    let (root, account) = (root.display().to_string(), account.display().to_string());
    let chroot = which("chroot");
    let mut all = vec![
        "--user".to_owned(),
        format!("--map-user={user}"),
        format!("--map-group={group}"),
        "--keep-caps".to_owned(),
        "--mount".to_owned(),
    ];
    all.extend(["sh", "-c", POD, "pod", &root, &account, &chroot].map(str::to_owned));
    all.extend(image.env.iter().chain(env).cloned());
    all.extend([chroot, root]);
    all.extend(arguments.iter().cloned());
    all
}

#[tokio::test]
async fn the_image_holds_what_the_operator_needs_and_is_never_written_to() {
    let site = Site::new("image").await;
    let namespace = site.namespace.as_str();
    let image = image();
    site.install(Helm::V4, &chart(), &[]);
    let (root, account) = (root(&site, &image), account(&site));

    // Its programs run, and nothing can be written.
    let says = |arguments: &[&str]| {
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        try_run(Command::new("unshare").args(pod(&image, &root, &account, &[], &arguments))).unwrap_or_else(|error| {
            panic!(
                "{error}\nThis test needs user namespaces: where they are switched off, `sysctl -w \
                 kernel.apparmor_restrict_unprivileged_userns=0` (Ubuntu) or `sysctl -w kernel.unprivileged_userns_clone=1`"
            )
        })
    };
    for (_, program) in &image.programs {
        let version = if ["helm", "kustomize", "cosign", "notation"].contains(&program.as_str()) {
            "version"
        } else {
            "--version"
        };
        says(&[&format!("/usr/local/bin/{program}"), version]);
    }
    says(&["/usr/bin/git", "--version"]);
    assert!(root.join("usr/share/licenses/fairlead/LICENSE").is_file());
    says(&["/bin/sh", "-c", "! (: >/usr/local/bin/x) && ! (: >/etc/x) && : >/tmp/x && : >/var/lib/fairlead/x"]);

    // The operator does its job in it: by the pod's own account, from a repository over HTTP and one over SSH.
    let listen = format!("127.0.0.1:{}", free_port());
    let spec = site.pod();
    let container = &spec["containers"][0];
    let mut env: Vec<String> = site.env(container, 0).iter().map(|(name, value)| format!("{name}={value}")).collect();
    let (host, port) = site.bench.server().trim_start_matches("https://").split_once(':').expect("host and port");
    env.push(format!("KUBERNETES_SERVICE_HOST={host}"));
    env.push(format!("KUBERNETES_SERVICE_PORT={port}"));
    env.push(format!("FAIRLEAD_LISTEN={listen}"));
    let arguments = [vec![image.entrypoint.clone()], args(container)].concat();
    let log = site.bench.folder().join("image.log");
    let operator =
        Daemon::start("the operator", Path::new("unshare"), pod(&image, &root, &account, &env, &arguments), &[], &log);
    let release = site.release(namespace, "ui", 3000).to_string();
    let kustomization = "resources: [ui.yaml]\n";
    site.releases.commit(
        "ui",
        &[("production/ui.yaml", Some(&release)), ("production/kustomization.yaml", Some(kustomization))],
    );
    let key = SshKey::generate(KeyKind::Ed25519);
    let other = GitServer::builder().ssh(&key).start();
    let repository = other.repository("other");
    repository.commit("Something", &[("a.yaml", Some(""))]);
    site.apply(&json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key"}, "stringData": {
        "identity": key.private, "identity.pub": key.public, "known_hosts": other.known_hosts(),
    }}));
    site.apply(&json!({
        "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository", "metadata": {"name": "other"},
        "spec": {"url": other.ssh_url(&repository), "interval": "1m", "secretRef": {"name": "key"}, "ref": {"branch": "main"}},
    }));
    site.released(namespace, "ui", 1).await;
    site.until((namespace, "gitrepository", "other"), "is ready", is_ready).await;
    wait_for("/readyz", PATIENCE, || async {
        let answer = reqwest::get(format!("http://{listen}/readyz")).await.map_err(|error| error.to_string())?;
        answer.status().is_success().then_some(()).ok_or_else(|| answer.status().to_string())
    })
    .await;
    site.bench.kubectl(&["delete", "gitrepository", "other", "--namespace", namespace, "--timeout=30s"]);
    site.leave(Helm::V4, namespace).await;
    drop(operator);
}

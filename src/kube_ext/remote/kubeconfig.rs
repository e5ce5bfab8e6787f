//! A kubeconfig that somebody else wrote: only what it holds itself is used, no program and no
//! file of the operator's, and the server is verified. Pure.

use kube::Config;
use kube::config::{AuthInfo, Cluster, Kubeconfig, KubeconfigError};

/// The configuration of the current context, or why it is not used, without its contents.
pub(super) fn config(text: &str, insecure_tls: bool) -> Result<Config, String> {
    // The parser's own words quote the text.
    let kubeconfig = Kubeconfig::from_yaml(text).map_err(|_| "it is no kubeconfig".to_owned())?;
    let (cluster, user) = current(&kubeconfig)?;
    if let Some(why) = cluster.and_then(|cluster| refused_cluster(cluster, insecure_tls)) {
        return Err(why);
    }
    if let Some(why) = user.and_then(refused_user) {
        return Err(why);
    }
    let mut config = Config::try_from(kubeconfig).map_err(|error| match error {
        KubeconfigError::Parse(_) => "it is no kubeconfig".to_owned(),
        error => error.to_string(),
    })?;
    // Not the operator's proxy either: the variable is for its own downloads.
    config.proxy_url = None;
    Ok(config)
}

/// Cluster and user of the current context, as far as they are there.
fn current(kubeconfig: &Kubeconfig) -> Result<(Option<&Cluster>, Option<&AuthInfo>), String> {
    let name =
        kubeconfig.current_context.as_deref().filter(|name| !name.is_empty()).ok_or("it has no current-context")?;
    let context = kubeconfig.contexts.iter().find(|context| context.name == name);
    let context = context
        .and_then(|context| context.context.as_ref())
        .ok_or_else(|| format!("its current-context '{name}' is not there"))?;
    let cluster = kubeconfig.clusters.iter().find(|cluster| cluster.name == context.cluster);
    let user = kubeconfig.auth_infos.iter().find(|user| Some(&user.name) == context.user.as_ref());
    Ok((cluster.and_then(|named| named.cluster.as_ref()), user.and_then(|named| named.auth_info.as_ref())))
}

fn refused_cluster(cluster: &Cluster, insecure_tls: bool) -> Option<String> {
    let server = cluster.server.as_deref().unwrap_or_default();
    let unverified = cluster.insecure_skip_tls_verify == Some(true) || !server.starts_with("https://");
    if unverified && !insecure_tls {
        return Some("it leaves the API server unverified, which only --insecure-kubeconfig-tls allows".to_owned());
    }
    if is_set(cluster.certificate_authority.as_deref()) {
        return Some(file("certificate-authority", "certificate-authority-data"));
    }
    is_set(cluster.proxy_url.as_deref()).then(|| "it asks for a proxy-url, which is not supported".to_owned())
}

fn refused_user(user: &AuthInfo) -> Option<String> {
    if user.exec.is_some() || user.auth_provider.is_some() {
        return Some("it asks to run a program (exec or auth-provider); put a token or a certificate in it".to_owned());
    }
    let files = [
        (user.token_file.as_deref(), "tokenFile", "token"),
        (user.client_certificate.as_deref(), "client-certificate", "client-certificate-data"),
        (user.client_key.as_deref(), "client-key", "client-key-data"),
    ];
    files.into_iter().find(|(path, ..)| is_set(*path)).map(|(_, named, instead)| file(named, instead))
}

fn is_set(text: Option<&str>) -> bool {
    text.is_some_and(|text| !text.is_empty())
}

fn file(named: &str, instead: &str) -> String {
    format!("it names a file of the operator's ({named}); put the content in it ({instead})")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[allow(clippy::needless_pass_by_value)] // literals read better unborrowed
    fn kubeconfig(cluster: Value, user: Value) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "now",
            "clusters": [{"name": "other", "cluster": {"server": "http://x"}}, {"name": "c", "cluster": cluster}],
            "users": [{"name": "other", "user": {"exec": {"command": "x"}}}, {"name": "u", "user": user}],
            "contexts": [{"name": "now", "context": {"cluster": "c", "user": "u"}}],
        })
    }

    #[test]
    fn what_the_kubeconfig_holds_is_used() {
        let cluster = json!({"server": "https://prod.example:6443", "tls-server-name": "kubernetes"});
        let user = json!({"token": "hunter2", "as": "deployer"});
        let found = config(&kubeconfig(cluster, user).to_string(), false).expect("it is good");
        assert_eq!(found.cluster_url.to_string(), "https://prod.example:6443/");
        assert_eq!(found.tls_server_name.as_deref(), Some("kubernetes"));
        assert_eq!(found.auth_info.impersonate.as_deref(), Some("deployer"));
        assert!(found.auth_info.token.is_some());
    }

    #[test]
    fn programs_files_and_unverified_servers_are_refused() {
        let cluster = |more: Value| {
            let mut cluster = json!({"server": "https://x"});
            cluster.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
            kubeconfig(cluster, json!({}))
        };
        let user = |user: Value| kubeconfig(json!({"server": "https://x"}), user);
        for (kubeconfig, words) in [
            (cluster(json!({"insecure-skip-tls-verify": true})), "--insecure-kubeconfig-tls"),
            (cluster(json!({"server": "http://x"})), "--insecure-kubeconfig-tls"),
            (cluster(json!({"certificate-authority": "/etc/ca"})), "certificate-authority-data"),
            (cluster(json!({"proxy-url": "http://proxy"})), "proxy-url"),
            (user(json!({"exec": {"command": "aws"}})), "run a program"),
            (user(json!({"auth-provider": {"name": "gcp"}})), "run a program"),
            (user(json!({"tokenFile": "/var/run/secrets/token"})), "tokenFile"),
            (user(json!({"client-certificate": "/x"})), "client-certificate-data"),
            (user(json!({"client-key": "/x"})), "client-key-data"),
            (json!({"current-context": "gone"}), "'gone' is not there"),
            (json!({}), "no current-context"),
        ] {
            let refused = config(&kubeconfig.to_string(), false).expect_err(words);
            assert!(refused.contains(words), "{refused}");
        }
        let insecure = cluster(json!({"insecure-skip-tls-verify": true})).to_string();
        assert!(config(&insecure, true).expect("allowed").accept_invalid_certs);
    }

    #[test]
    fn a_text_that_is_no_kubeconfig_is_not_quoted() {
        for text in ["hunter2", "- hunter2", "users: hunter2", "\"hunter2"] {
            let refused = config(text, false).expect_err("it is none");
            assert!(!refused.contains("hunter2"), "{refused}");
        }
    }
}

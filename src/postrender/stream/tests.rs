use serde_json::json;

use super::*;
use crate::api::kustomize::CommonMetadata;
use crate::postrender::Step;

fn instructions(strategy: PostRenderStrategy, steps: usize) -> Instructions {
    Instructions {
        steps: (0..steps).map(|index| Step { index, kustomize: crate::api::helm::v2::Kustomize::default() }).collect(),
        strategy,
        metadata: CommonMetadata { labels: [("l".to_owned(), "m".to_owned())].into(), ..CommonMetadata::default() },
        strict: false,
        kustomize: "kustomize".into(),
    }
}

fn object(name: &str) -> String {
    format!("---\n# Source: {name}\napiVersion: v1\nkind: X\nmetadata:\n  name: {name}\n")
}

fn labelled(name: &str) -> String {
    object(name).replace("metadata:\n", "metadata:\n  labels:\n    l: m\n")
}

fn hook(name: &str) -> String {
    format!("---\napiVersion: v1\nkind: X\nmetadata: {{name: {name}, annotations: {{helm.sh/hook: test}}}}\n")
}

fn labelled_hook(name: &str) -> String {
    hook(name).replace("{name", "{labels: {\"l\":\"m\"}, name")
}

/// The streams that each step got, and the result.
fn run(stream: &str, instructions: &Instructions) -> (Vec<(usize, String)>, String) {
    let mut seen = Vec::new();
    let done = render(stream, instructions, |step, text| {
        seen.push((step.index, text.to_owned()));
        Ok(text.to_owned())
    });
    let out = done.expect("renders");
    (seen, out)
}

#[test]
fn without_steps_the_order_stays_and_hooks_follow_the_strategy() {
    let stream = [object("a"), hook("h"), "---\n# nothing here\n".to_owned(), object("b")].concat();
    let all = [labelled("a"), labelled_hook("h"), "---\n# nothing here\n".to_owned(), labelled("b")].concat();
    for strategy in [PostRenderStrategy::Combined, PostRenderStrategy::Separate] {
        assert_eq!(run(&stream, &instructions(strategy, 0)), (Vec::new(), all.clone()));
    }
    let plain = all.replace(&labelled_hook("h"), &hook("h"));
    assert_eq!(run(&stream, &instructions(PostRenderStrategy::NoHooks, 0)).1, plain);
}

#[test]
fn steps_get_what_the_strategy_says_one_after_the_other() {
    let stream = [object("a"), hook("h"), object("b")].concat();
    let objects = [object("a"), object("b")].concat();
    let (seen, out) = run(&stream, &instructions(PostRenderStrategy::Combined, 2));
    assert_eq!(seen, [(0, stream.clone()), (1, stream.clone())]);
    assert_eq!(out, [labelled("a"), labelled_hook("h"), labelled("b")].concat());
    let (seen, out) = run(&stream, &instructions(PostRenderStrategy::Separate, 1));
    assert_eq!(seen, [(0, hook("h")), (0, objects.clone())]);
    assert_eq!(out, [labelled_hook("h"), labelled("a"), labelled("b")].concat());
    let (seen, out) = run(&stream, &instructions(PostRenderStrategy::NoHooks, 1));
    assert_eq!(seen, [(0, objects.clone())]);
    assert_eq!(out, [hook("h"), labelled("a"), labelled("b")].concat());
    let (seen, _) = run(&objects, &instructions(PostRenderStrategy::Separate, 1));
    assert_eq!(seen.len(), 1, "no step for no hooks");
    assert_eq!(run("# none\n", &instructions(PostRenderStrategy::Combined, 1)).0, []);
}

#[test]
fn an_empty_stream_is_not_empty_for_helm() {
    for steps in [0, 1] {
        assert_eq!(run("", &instructions(PostRenderStrategy::Combined, steps)).1, NOTHING);
    }
}

#[test]
fn failures_name_the_field() {
    let mut wanted = instructions(PostRenderStrategy::Combined, 1);
    wanted.steps[0].index = 3;
    let error = render(&object("a"), &wanted, |_, _| Err("no matches".to_owned())).expect_err("fails");
    assert_eq!(error.to_string(), "spec.postRenderers[3].kustomize: no matches");
    let broken = format!("{}---\n# Source: odd.yaml\na: [1\nb: 2\n", object("a"));
    let lenient = instructions(PostRenderStrategy::Combined, 0);
    assert!(run(&broken, &lenient).1.ends_with("a: [1\nb: 2\n"), "helm may read it");
    let strict = Instructions { strict: true, ..lenient };
    let error = render(&broken, &strict, |_, text| Ok(text.to_owned())).expect_err("cannot be read").to_string();
    assert!(error.starts_with("spec.commonMetadata: a rendered document cannot be read: line "), "{error}");
    assert!(error.ends_with("it begins with: # Source: odd.yaml"), "{error}");
}

#[test]
fn documents_without_a_line_feed_do_not_run_together() {
    let first = object("a");
    let stream = format!("{}\n---\napiVersion: v1\nkind: Z", first.trim_end());
    let values: Vec<_> = yaml::documents(&run(&stream, &instructions(PostRenderStrategy::Combined, 1)).1)
        .into_iter()
        .map(|document| document.result.expect("reads")["metadata"]["labels"].clone())
        .collect();
    assert_eq!(values, [json!({"l": "m"}), json!({"l": "m"})]);
}

use super::super::problem::Place;
use super::*;

fn id(kind: &str, namespace: &str, name: &str) -> ObjectId {
    let group = if kind == "Namespace" { "" } else { "apps" };
    ObjectId { namespace: namespace.to_owned(), name: name.to_owned(), group: group.to_owned(), kind: kind.to_owned() }
}

fn error(object: &ObjectId, hold: Hold) -> Problem {
    let place = Place { file: "a.yaml".into(), line: Some(1) };
    Problem { hold, ..Problem::error(place, "broken").about(object) }
}

fn refused(object: &ObjectId) -> Problem {
    error(object, Hold::Nothing)
}

fn misnamed(object: &ObjectId, namespace: Option<&str>) -> Problem {
    let hold =
        Hold::Kind { group: object.group.clone(), kind: object.kind.clone(), namespace: namespace.map(str::to_owned) };
    error(object, hold)
}

/// A pass over an inventory.
struct Scene {
    inventory: Inventory,
    target: Option<&'static str>,
    applied: BTreeSet<ObjectId>,
}

impl Scene {
    fn of(ids: &[ObjectId]) -> Self {
        let mut inventory = Inventory::default();
        for id in ids {
            inventory.insert(id.clone(), "v1");
        }
        Self { inventory, target: None, applied: BTreeSet::new() }
    }

    fn pass(&self, problems: &[Problem], before: Option<&Held>) -> (Vec<String>, Held) {
        let named = problems.iter().filter_map(|problem| problem.object.as_ref());
        let named = named.flat_map(|id| forms(id, self.target));
        let stated = self.applied.iter().cloned().chain(named).collect();
        let applied = self.applied.iter().collect();
        let folder = Folder { stated: &stated, applied: &applied, problems, target_namespace: self.target, before };
        let (kept, because, held) = folder.keeps(&self.inventory);
        assert_eq!(kept.is_empty(), because.is_none());
        (kept.into_iter().map(ToString::to_string).collect(), held)
    }

    fn kept(&self, problems: &[Problem]) -> Vec<String> {
        self.pass(problems, None).0
    }
}

#[test]
fn a_broken_name_keeps_its_kind_in_its_namespace() {
    let scene = Scene::of(&[id("Pod", "ns", "a"), id("Pod", "other", "b"), id("Job", "ns", "c")]);
    assert_eq!(scene.kept(&[misnamed(&id("Pod", "ns", "A"), Some("ns"))]), ["Pod/ns/a"]);
}

#[test]
fn a_broken_namespace_keeps_the_kind_everywhere_and_the_namespaces_that_hold_it() {
    let scene = Scene::of(&[
        id("Pod", "ui-abc", "a"),
        id("Namespace", "", "ui-abc"),
        id("Namespace", "", "other"),
        id("Job", "ui-abc", "c"),
    ]);
    assert_eq!(scene.kept(&[misnamed(&id("Pod", "ui-Abc", "a"), None)]), ["Namespace/ui-abc", "Pod/ui-abc/a"]);
}

#[test]
fn a_broken_name_is_looked_for_in_the_target_namespace() {
    let moved = Scene { target: Some("t"), ..Scene::of(&[id("Pod", "t", "a"), id("Pod", "other", "b")]) };
    assert_eq!(moved.kept(&[misnamed(&id("Pod", "", "A"), Some(""))]), ["Pod/t/a"]);
}

#[test]
fn a_new_object_that_is_refused_keeps_what_it_may_be_meant_to_replace() {
    let scene = Scene::of(&[id("Ingress", "ns", "web"), id("Ingress", "other", "x"), id("Route", "far", "y")]);
    let (new, old) = (id("Route", "ns", "web"), id("Ingress", "ns", "web"));
    assert_eq!(scene.kept(&[refused(&new)]), ["Route/far/y", "Ingress/ns/web"]);
    assert!(scene.kept(&[refused(&old)]).is_empty(), "one that is there replaces nothing");
    assert!(scene.kept(&[refused(&new).warning()]).is_empty(), "it was applied");
    let applied = Scene { applied: BTreeSet::from([new.clone()]), ..scene };
    assert!(applied.kept(&[refused(&new)]).is_empty(), "another manifest of it was");
}

#[test]
fn what_is_told_of_a_manifest_is_told_of_the_object_that_it_becomes() {
    let raw = id("Store", "foo", "s");
    let cluster_wide = id("Store", "", "s");
    let scene = Scene::of(std::slice::from_ref(&cluster_wide));
    assert!(scene.kept(&[refused(&raw)]).is_empty());
    assert!(forms(&raw, None).contains(&cluster_wide), "stated, and so not deleted");
    let target = forms(&id("Namespace", "", "app"), Some("t"));
    assert!(target.contains(&id("Namespace", "", "t")));
}

#[test]
fn what_leaves_while_trouble_lasts_was_taken_out_by_itself() {
    let all = [id("Pod", "ns", "a"), id("Pod", "ns", "b"), id("Route", "ns", "r"), id("Job", "far", "j")];
    let first = Scene { applied: BTreeSet::from([all[1].clone(), all[2].clone(), all[3].clone()]), ..Scene::of(&all) };
    let later = Scene::of(&all);
    for (trouble, then) in [
        (misnamed(&id("Pod", "ns", "A"), Some("ns")), vec!["Pod/ns/a"]),
        // What is in the same namespace may be moved in two steps.
        (refused(&id("Job", "ns", "new")), vec!["Pod/ns/a", "Route/ns/r", "Pod/ns/b"]),
    ] {
        let trouble = [trouble];
        let (kept, held) = first.pass(&trouble, None);
        assert_eq!(kept, ["Pod/ns/a"], "both came in one revision");
        let (kept, held) = later.pass(&trouble, Some(&held));
        assert_eq!(kept.into_iter().collect::<BTreeSet<_>>(), then.iter().map(ToString::to_string).collect());
        let another = [trouble[0].clone(), refused(&id("Pod", "ns", "another"))];
        assert!(later.pass(&another, Some(&held)).0.contains(&"Pod/ns/b".to_owned()), "new trouble hides more");
        assert!(later.pass(&[], Some(&held)).0.is_empty(), "the trouble is over");
    }
    let unreadable = [Problem { object: None, ..error(&all[0], Hold::Everything) }];
    let (_, held) = first.pass(&unreadable, None);
    assert_eq!(later.pass(&unreadable, Some(&held)).0.len(), 4, "a file that cannot be read may hold anything");
}

#[test]
fn a_second_broken_manifest_for_one_object_is_new_trouble() {
    let all = [id("Pod", "ns", "ui-a"), id("Pod", "ns", "ui-b")];
    let broken = misnamed(&id("Pod", "ns", "ui-"), Some("ns"));
    let first = Scene { applied: BTreeSet::from([all[1].clone()]), ..Scene::of(&all) };
    let (_, held) = first.pass(std::slice::from_ref(&broken), None);
    let (kept, _) = Scene::of(&all).pass(&[broken.clone(), broken], Some(&held));
    assert_eq!(kept, ["Pod/ns/ui-a", "Pod/ns/ui-b"]);
}

#[test]
fn what_other_trouble_kept_goes_when_that_is_over() {
    let all = [id("Pod", "ns", "a")];
    let lasting = misnamed(&id("Pod", "ns", "A"), Some("ns"));
    let first = Scene { applied: BTreeSet::from([all[0].clone()]), ..Scene::of(&all) };
    let (_, held) = first.pass(std::slice::from_ref(&lasting), None);
    let scene = Scene::of(&all);
    let unreadable = Problem { object: None, ..error(&all[0], Hold::Everything) };
    let (kept, held) = scene.pass(&[lasting.clone(), unreadable], Some(&held));
    assert_eq!(kept, ["Pod/ns/a"]);
    assert!(scene.pass(&[lasting], Some(&held)).0.is_empty());
}

#[test]
fn a_definition_stays_with_what_is_of_its_kind() {
    let mut definition = id("CustomResourceDefinition", "", "foos.x.io");
    definition.group = "apiextensions.k8s.io".to_owned();
    let other = ObjectId { name: "bars.y.io".to_owned(), ..definition.clone() };
    let mut foo = id("Foo", "ns", "a");
    foo.group = "x.io".to_owned();
    let scene = Scene::of(&[definition, other, foo]);
    let kept = scene.kept(&[refused(&id("Job", "ns", "new"))]);
    assert_eq!(kept, ["CustomResourceDefinition/foos.x.io", "Foo/ns/a"]);
}

#[test]
fn a_warning_about_an_object_is_no_new_trouble() {
    let all = [id("Pod", "ns", "a")];
    let broken = misnamed(&id("Pod", "ns", "A"), Some("ns"));
    let first = Scene { applied: BTreeSet::from([all[0].clone()]), ..Scene::of(&all) };
    let problems = [broken.clone(), refused(&id("Pod", "ns", "A")).warning()];
    let (_, held) = first.pass(&problems, None);
    assert!(Scene::of(&all).pass(&problems, Some(&held)).0.is_empty(), "it left later");
}

#[test]
fn thousands_of_problems_share_what_they_keep() {
    let all: Vec<_> = (0..3000).map(|number| id("Pod", "ns", &format!("a{number}"))).collect();
    let problems: Vec<_> = all
        .iter()
        .map(|object| misnamed(&ObjectId { name: object.name.to_uppercase(), ..object.clone() }, Some("ns")))
        .collect();
    let scene = Scene::of(&all);
    let (kept, held) = scene.pass(&problems, None);
    assert_eq!(kept.len(), all.len());
    let (kept, held) = scene.pass(&problems, Some(&held));
    assert_eq!(kept.len(), all.len());
    let sets: BTreeSet<_> = held.0.values().map(|trouble| Arc::as_ptr(&trouble.kept)).collect();
    assert_eq!(sets.len(), 1);
}

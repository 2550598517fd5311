//! What a person sees knows nothing of the mesh: `gateway` does not name it, nor reach it through another crate.
//!
//! The manifests already forbid the import; this also finds the way round, through what another crate re-exports.

use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{ItemExternCrate, ItemMod, ItemUse, Path, UseTree};

use crate::source::Source;
use crate::{Tree, Violation, assert_found, assert_workspace_obeys};

/// Crates that `gateway` may import and that know the mesh.
const WAYS_ROUND: &[&str] = &["inference", "monitor"];

fn mesh_in_gateway(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    for source in Source::all(tree)
        .iter()
        .filter(|source| source.path.starts_with("gateway/"))
    {
        let mut finder = MeshFinder::default();
        finder.visit_file(&source.syntax);
        let message = "`gateway` must not import `mesh`: ask `inference` or `monitor`, in terms of `keys` and `crdt`";
        // A module of that name in the same file is ours: `routes/mesh.rs` is about the mesh and does not import it.
        let lines = finder
            .found
            .iter()
            .filter(|(_, is_crate_for_sure)| *is_crate_for_sure || !finder.has_own_module);
        violations.extend(lines.map(|(line, _)| Violation::new(&source.path, *line, message)));
    }
    violations
}

#[derive(Default)]
struct MeshFinder {
    /// The line, and whether the name can mean nothing but the crate.
    found: Vec<(usize, bool)>,
    has_own_module: bool,
}

impl MeshFinder {
    fn note(&mut self, names: &[String], has_leading_colons: bool, line: usize) {
        match names {
            [first, second, ..] if second == "mesh" && WAYS_ROUND.contains(&first.as_str()) => {
                self.found.push((line, true))
            }
            [first, ..] if first == "mesh" => self.found.push((line, has_leading_colons)),
            _ => {}
        }
    }
}

impl<'ast> Visit<'ast> for MeshFinder {
    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        self.has_own_module |= module.ident == "mesh";
        visit::visit_item_mod(self, module);
    }

    fn visit_item_extern_crate(&mut self, item: &'ast ItemExternCrate) {
        self.note(&[item.ident.to_string()], true, item.span().start().line);
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        let mut leaves = Vec::new();
        leaves_of(&item.tree, &[], &mut leaves);
        for (names, line) in leaves {
            // `use crate::routes::mesh;` gives the name to a module of ours.
            let is_own = names
                .first()
                .is_some_and(|first| ["crate", "self", "super"].contains(&first.as_str()));
            self.has_own_module |= is_own && names.last().is_some_and(|last| last == "mesh");
            self.note(&names, item.leading_colon.is_some(), line);
        }
    }

    fn visit_path(&mut self, path: &'ast Path) {
        // A single name is a variable.
        if path.segments.len() > 1 {
            let names: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
            self.note(&names, path.leading_colon.is_some(), path.span().start().line);
        }
        visit::visit_path(self, path);
    }
}

/// Takes `a::{b, c::d}` apart into `a::b` and `a::c::d`, each with its line.
fn leaves_of(tree: &UseTree, above: &[String], leaves: &mut Vec<(Vec<String>, usize)>) {
    let joined = |name: String| above.iter().cloned().chain([name]).collect::<Vec<_>>();
    let line = tree.span().start().line;
    match tree {
        UseTree::Path(path) => leaves_of(&path.tree, &joined(path.ident.to_string()), leaves),
        UseTree::Group(group) => group.items.iter().for_each(|item| leaves_of(item, above, leaves)),
        UseTree::Name(name) => leaves.push((joined(name.ident.to_string()), line)),
        UseTree::Rename(rename) => leaves.push((joined(rename.ident.to_string()), line)),
        UseTree::Glob(_) => leaves.push((joined("*".to_owned()), line)),
    }
}

#[test]
fn the_gateway_does_not_know_the_mesh() {
    assert_workspace_obeys(mesh_in_gateway);
}

#[test]
fn a_gateway_that_knows_the_mesh_is_found() {
    let files = [
        ("gateway/src/a.rs", "use mesh::Peer;\nuse keys::{A, B};\n"),
        (
            "gateway/src/b.rs",
            "fn a(mesh: u8) {\n    let b = mesh;\n    mesh::dial(b);\n}\n",
        ),
        (
            "gateway/src/c.rs",
            "use {\n    keys::A,\n    inference::mesh::Peer,\n};\n",
        ),
        (
            "gateway/src/routes.rs",
            "mod mesh;\nfn a() { mesh::router(); }\nfn b() { ::mesh::dial(); }\n",
        ),
        (
            "gateway/src/router.rs",
            "use crate::routes::{account, mesh};\nfn a() { mesh::router(); }\n",
        ),
        ("inference/src/a.rs", "use mesh::Peer;\n"),
    ];
    let expected = [
        "gateway/src/a.rs:1",
        "gateway/src/b.rs:3",
        "gateway/src/c.rs:3",
        "gateway/src/routes.rs:3",
    ];
    assert_found(mesh_in_gateway, &files, &expected);
}

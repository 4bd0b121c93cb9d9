//! The table of `docs/backbones.md` against the code: every backbone has its row, and the row is true.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests

use simplenet_model::{
    BackboneId,
    backbone::Tap,
    weights::{Origin, origin},
};
use simplenet_tests::workspace_root;

/// Sides that the presets are made for; a backbone takes the one next to it.
const SIDE: usize = 288;

#[test]
fn every_backbone_has_its_row_and_the_row_is_true() {
    let page = std::fs::read_to_string(workspace_root().join("docs/backbones.md")).expect("the page");
    for id in BackboneId::ALL {
        let row = page.lines().find(|line| line.starts_with(&format!("| `{id}` |")));
        let row = row.unwrap_or_else(|| panic!("docs/backbones.md has no row for {id}"));
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [_, taps, channels, grid, parameters, licence, from, pinned] = cells[..] else {
            panic!("{row}: eight columns expected")
        };
        let listed = |items: Vec<String>| items.join(", ");
        let levels = id.taps(id.levels()).expect("its own");
        assert_eq!(taps, listed(levels.iter().map(|tap| format!("`{}`", tap.stage)).collect()), "{id}");
        assert_eq!(channels, listed(levels.iter().map(|tap| tap.channels.to_string()).collect()), "{id}");
        let cells_per_side = |tap: &Tap| id.nearest_side(SIDE).div_ceil(tap.stride);
        let grids = levels.iter().map(cells_per_side).map(|side| format!("{side}×{side}"));
        assert_eq!(grid, listed(grids.collect()), "{id}");
        let trained = id.tensor_specs().into_iter().filter(|spec| !spec.name.contains("running_"));
        let count: usize = trained.map(|spec| spec.shape.iter().product::<usize>()).sum();
        assert_eq!(parameters, format!("{:.2} M", count as f64 / 1e6), "{id}");
        assert_eq!(licence, id.licence(), "{id}");
        let want = match origin(id) {
            Origin::Embedded => ("compiled in", "yes"),
            Origin::Package(file) => (file.package, "hash in the table"),
            Origin::Hub(file) => (file.repo.as_ref(), "commit, SHA-256 and size"),
            Origin::Web(file) => (file.url, "not downloaded"),
        };
        assert!(
            from.contains(want.0) && pinned.contains(want.1),
            "{id}: {from}, {pinned}; expected {want:?}"
        );
    }
}

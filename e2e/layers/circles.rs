//! Which files of a crate depend on each other in a circle.
//!
//! ```text
//!   syn: items without tests ─▶ names that each file defines, imports and mentions
//!   a mentioned name ─▶ through imports and re-exports ─▶ the file that defines it
//!   files and who needs whom ─▶ strongly connected components (Tarjan)
//! ```
//!
//! A `pub use` alone is no dependency: it only passes a name on. Calls of methods are not seen, since that takes a
//! compiler.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::{Attribute, Item, UseTree};

/// A path below the root of a crate: `pod::task`.
type ModulePath = Vec<String>;

/// A module that is a file, or stands in one.
#[derive(Default)]
struct Module {
    /// The file, from the root of the repository.
    file: String,
    defines: BTreeSet<String>,
    children: BTreeSet<String>,
    imports: Vec<Import>,
    /// Paths in what it does, of one name or several.
    mentions: BTreeSet<Vec<String>>,
}

struct Import {
    path: Vec<String>,
    /// The name it has here, or `*`.
    name: String,
}

/// The modules of one crate.
#[derive(Default)]
pub struct Crate(BTreeMap<ModulePath, Module>);

/// A dependency: the names because of which a file needs another.
pub type Edges = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

impl Crate {
    /// Reads the crate in a directory below `root`, and what is below its `lib.rs`.
    pub fn read(root: &Path, directory: &str) -> Result<Self> {
        let mut modules = Self::default();
        modules.read_file(root, &format!("{directory}/lib.rs"), directory, Vec::new())?;
        Ok(modules)
    }

    /// Reads one file. `below` is the directory that its modules are in.
    fn read_file(&mut self, root: &Path, file: &str, below: &str, path: ModulePath) -> Result<()> {
        let text = fs::read_to_string(root.join(file)).with_context(|| file.to_owned())?;
        let items = syn::parse_file(&text)
            .with_context(|| file.to_owned())?
            .items;
        let mut module = Module {
            file: file.to_owned(),
            ..Module::default()
        };
        let mut inner = Vec::new();
        for item in items {
            module.add(item, &mut inner);
        }
        for name in inner {
            let child: ModulePath = path.iter().cloned().chain([name.clone()]).collect();
            let directory = format!("{below}/{name}");
            let beside = format!("{below}/{name}.rs");
            if root.join(&beside).exists() {
                self.read_file(root, &beside, &directory, child)?;
            } else {
                self.read_file(root, &format!("{directory}/mod.rs"), &directory, child)?;
            }
            module.children.insert(name);
        }
        self.0.insert(path, module);
        Ok(())
    }

    /// Who needs whom, by files.
    pub fn edges(&self) -> Edges {
        let mut edges = Edges::new();
        for (path, module) in &self.0 {
            for mention in &module.mentions {
                let Some(found) = self.resolve(path, mention, 0) else {
                    continue;
                };
                if found != module.file {
                    let needed = edges.entry(module.file.clone()).or_default();
                    let names = needed.entry(found).or_default();
                    names.insert(mention.join("::"));
                }
            }
        }
        edges
    }

    /// The file that defines what a path names in a module.
    fn resolve(&self, from: &[String], path: &[String], depth: usize) -> Option<String> {
        // Imports that lead to each other.
        const DEEPEST: usize = 20;
        let (first, rest) = path.split_first()?;
        if depth > DEEPEST {
            return None;
        }
        match first.as_str() {
            "crate" => self.walk(&[], rest, depth),
            "self" => self.walk(from, rest, depth),
            "super" => self.walk(from.split_last()?.1, rest, depth),
            _ => self.walk(from, path, depth),
        }
    }

    fn walk(&self, at: &[String], path: &[String], depth: usize) -> Option<String> {
        let module = self.0.get(at)?;
        let (name, rest) = path.split_first()?;
        if name == "super" || name == "self" {
            return self.resolve(at, path, depth + 1);
        }
        if module.children.contains(name) {
            let child: ModulePath = at.iter().cloned().chain([name.clone()]).collect();
            return self.walk(&child, rest, depth);
        }
        if module.defines.contains(name) {
            return Some(module.file.clone());
        }
        let named = module.imports.iter().filter(|import| import.name == *name);
        let mut found = named.filter_map(|import| {
            let whole: Vec<String> = import.path.iter().chain(rest).cloned().collect();
            // An import of a crate has the name of the crate itself: `use tokio;`.
            (whole != path).then(|| self.resolve(at, &whole, depth + 1))?
        });
        let all = || {
            let everything = module.imports.iter().filter(|import| import.name == "*");
            everything.filter_map(|import| {
                let whole: Vec<String> = import.path.iter().chain(path).cloned().collect();
                self.resolve(at, &whole, depth + 1)
            })
        };
        found.next().or_else(|| all().next())
    }
}

impl Module {
    fn add(&mut self, item: Item, inner: &mut Vec<String>) {
        if is_test(attributes(&item)) {
            return;
        }
        match item {
            Item::Use(item) => self.import(&item.tree, &mut Vec::new()),
            Item::Mod(item) if item.content.is_none() => inner.push(item.ident.to_string()),
            other => {
                self.defines.extend(defined(&other));
                mentions(other.to_token_stream(), &mut self.mentions);
            }
        }
    }

    fn import(&mut self, tree: &UseTree, before: &mut Vec<String>) {
        match tree {
            UseTree::Path(path) => {
                before.push(path.ident.to_string());
                self.import(&path.tree, before);
                before.pop();
            }
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.import(tree, before);
                }
            }
            UseTree::Name(name) if name.ident == "self" => {
                let path = before.clone();
                let name = path.last().cloned().unwrap_or_default();
                self.imports.push(Import { path, name });
            }
            UseTree::Name(name) => self.import_as(before, &name.ident, &name.ident),
            UseTree::Rename(name) => self.import_as(before, &name.ident, &name.rename),
            UseTree::Glob(_) => self.imports.push(Import {
                path: before.clone(),
                name: "*".to_owned(),
            }),
        }
    }

    fn import_as(&mut self, before: &[String], what: &syn::Ident, name: &syn::Ident) {
        let mut path = before.to_vec();
        if what != "self" {
            path.push(what.to_string());
        }
        self.imports.push(Import {
            path,
            name: name.to_string(),
        });
    }
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// Whether an item is there for tests or for the fuzzer only.
fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let text = attribute.to_token_stream().to_string();
        text.contains("cfg") && (text.contains("test") || text.contains("fuzz"))
    })
}

fn defined(item: &Item) -> Option<String> {
    let name = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Mod(item) => &item.ident,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(name.to_string())
}

/// All paths in tokens: in macros too, which syn does not look into.
fn mentions(tokens: TokenStream, found: &mut BTreeSet<Vec<String>>) {
    let mut path: Vec<String> = Vec::new();
    let mut colons = 0;
    let mut is_member = false;
    for token in tokens {
        match token {
            TokenTree::Ident(name) => {
                if colons < 2 {
                    flush(&mut path, found);
                }
                if !is_member {
                    path.push(name.to_string());
                }
                (colons, is_member) = (0, false);
            }
            TokenTree::Punct(sign) => {
                colons = if sign.as_char() == ':' { colons + 1 } else { 0 };
                is_member = sign.as_char() == '.';
                if colons == 0 {
                    flush(&mut path, found);
                }
            }
            TokenTree::Group(group) => {
                flush(&mut path, found);
                mentions(group.stream(), found);
                (colons, is_member) = (0, false);
            }
            TokenTree::Literal(_) => {
                flush(&mut path, found);
                (colons, is_member) = (0, false);
            }
        }
    }
    flush(&mut path, found);
}

fn flush(path: &mut Vec<String>, found: &mut BTreeSet<Vec<String>>) {
    if !path.is_empty() {
        found.insert(std::mem::take(path));
    }
}

/// The circles: sets of two files or more of which each needs each, by detours.
pub fn circles(edges: &Edges) -> Vec<BTreeSet<String>> {
    let reach: BTreeMap<&String, BTreeSet<&String>> = edges
        .keys()
        .map(|file| (file, reached(edges, file)))
        .collect();
    let mut found: Vec<BTreeSet<String>> = Vec::new();
    for (file, reached) in &reach {
        if found.iter().any(|circle| circle.contains(*file)) {
            continue;
        }
        let back = |other: &&&String| reach.get(**other).is_some_and(|from| from.contains(file));
        let circle: BTreeSet<String> = reached
            .iter()
            .filter(back)
            .map(|file| (*file).clone())
            .collect();
        if circle.len() > 1 {
            found.push(circle);
        }
    }
    found
}

fn reached<'a>(edges: &'a Edges, from: &'a String) -> BTreeSet<&'a String> {
    let mut found = BTreeSet::new();
    let mut pending = vec![from];
    while let Some(file) = pending.pop() {
        for needed in edges.get(file).into_iter().flat_map(BTreeMap::keys) {
            if found.insert(needed) {
                pending.push(needed);
            }
        }
    }
    found
}

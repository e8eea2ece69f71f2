//! The names that a source file uses, with `use`, `self` and `super` resolved.
//!
//! The file is parsed; then the tokens of each item are read, because names in macro calls are only
//! tokens. Code that is compiled for tests only is left out. A name from a glob import or a
//! re-export keeps its written path.

use std::collections::HashMap;

use proc_macro2::{Delimiter, Ident, TokenStream, TokenTree};
use syn::parse::Parser;
use syn::{Attribute, Item, UseTree};

/// A source file of the crate.
pub struct Source {
    /// Its path below `src`, such as `log/watch.rs`.
    pub file: String,
    /// The path of its module, such as `crate::log::watch`.
    pub module: String,
    pub content: Content,
}

/// One name that a source uses.
pub struct Name {
    /// A path (`std::fs::File`), a macro (`std::println!`) or a method (`.exists`).
    pub name: String,
    pub line: usize,
}

/// The content of a source file, without its tests.
#[derive(Default)]
pub struct Content {
    pub names: Vec<Name>,
    /// All identifiers.
    pub words: Vec<Name>,
    /// Modules in separate files that are compiled for tests only, such as `crate::log::tests`.
    pub test_modules: Vec<String>,
}

impl Source {
    pub fn new(file: &str, text: &str) -> Self {
        let path = format!("crate::{}", file.strip_suffix(".rs").unwrap().replace('/', "::"));
        let root = ["::mod", "::lib", "::main"].iter().find_map(|name| path.strip_suffix(name));
        let module = root.map_or(path.clone(), ToOwned::to_owned);
        let parsed = syn::parse_file(text)
            .unwrap_or_else(|error| panic!("{file}: {error} at {:?}", error.span().start()));
        let mut content = Content::default();
        read_items(&module, parsed.items, &mut content);
        Self { file: file.to_owned(), module, content }
    }

    /// The room of the file: the first part of its path.
    pub fn room(&self) -> &str {
        let first = self.file.split('/').next().unwrap();
        first.strip_suffix(".rs").unwrap_or(first)
    }
}

fn read_items(module: &str, items: Vec<Item>, content: &mut Content) {
    let mut scope = Scope { module, imports: HashMap::new() };
    let mut others = Vec::new();
    for item in items {
        if is_for_tests(attributes(&item)) {
            if let Item::Mod(inner) = item {
                content.test_modules.push(format!("{module}::{}", inner.ident));
            }
            continue;
        }
        match item {
            Item::Mod(inner) => {
                if let Some((_, items)) = inner.content {
                    read_items(&format!("{module}::{}", inner.ident), items, content);
                }
            }
            Item::Use(import) => scope.read_import(&import.tree, content),
            other => others.push(other),
        }
    }
    for item in others {
        scope.read_tokens(quote::ToTokens::to_token_stream(&item), content);
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
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<Ident>().is_ok_and(|condition| condition == "test")
    })
}

/// The module in which names are resolved.
struct Scope<'a> {
    module: &'a str,
    /// The full path of each imported name.
    imports: HashMap<String, String>,
}

impl Scope<'_> {
    /// The full path of a name in this module.
    fn resolve(&self, written: &[String]) -> String {
        let mut module: Vec<&str> = self.module.split("::").collect();
        let mut rest = written;
        match written[0].as_str() {
            "self" | "super" => {
                while let [first, after @ ..] = rest
                    && (first == "self" || first == "super")
                {
                    if first == "super" {
                        module.pop();
                    }
                    rest = after;
                }
                module.extend(rest.iter().map(String::as_str));
                return module.join("::");
            }
            "tailcast" => rest = &written[1..],
            first => {
                let mut path = self.imports.get(first).map_or(first, String::as_str).to_owned();
                for segment in &written[1..] {
                    path = format!("{path}::{segment}");
                }
                return path;
            }
        }
        let mut path = "crate".to_owned();
        for segment in rest {
            path = format!("{path}::{segment}");
        }
        path
    }

    /// Records all names of a `use` and their full paths.
    fn read_import(&mut self, tree: &UseTree, content: &mut Content) {
        let mut found = Vec::new();
        flatten(tree, &mut Vec::new(), &mut found);
        for (path, name) in found {
            let words = path.iter().chain((path.last() != Some(&name)).then_some(&name));
            for word in words {
                let line = name.span().start().line;
                content.words.push(Name { name: word.to_string(), line });
            }
            let written: Vec<String> = path.iter().map(Ident::to_string).collect();
            let resolved = self.resolve(&written);
            content.names.push(Name { name: resolved.clone(), line: name.span().start().line });
            self.imports.insert(name.to_string(), resolved);
        }
    }

    fn read_tokens(&mut self, tokens: TokenStream, content: &mut Content) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            match token {
                TokenTree::Group(group) => self.read_tokens(group.stream(), content),
                TokenTree::Ident(word) if word == "use" => {
                    let end = tokens[at..].iter().position(|token| is_punct(token, ';'));
                    let tree: TokenStream = tokens[at + 1..end.map_or(at + 1, |end| at + end)]
                        .iter()
                        .cloned()
                        .collect();
                    // The `use` in `impl Trait + use<'_>` imports nothing.
                    if let Ok(tree) = <UseTree as syn::parse::Parse>::parse.parse2(tree) {
                        self.read_import(&tree, content);
                        at += end.unwrap_or_default();
                    }
                }
                TokenTree::Ident(first) => {
                    let is_method = at > 0
                        && is_punct(&tokens[at - 1], '.')
                        && !(at > 1 && is_punct(&tokens[at - 2], '.'));
                    let mut path = vec![first.to_string()];
                    while let [a, b, TokenTree::Ident(next), ..] = &tokens[at + 1..]
                        && is_punct(a, ':')
                        && is_punct(b, ':')
                    {
                        path.push(next.to_string());
                        at += 3;
                    }
                    let line = first.span().start().line;
                    let words = path.iter().map(|word| Name { name: word.clone(), line });
                    content.words.extend(words);
                    // A single name that is not imported belongs to this module or is local.
                    let is_own = path.len() == 1 && !self.imports.contains_key(&path[0]);
                    let is_macro = is_macro_call(&tokens[at + 1..]);
                    let name = match (is_method, is_macro) {
                        (true, _) => format!(".{}", path[0]),
                        (false, true) if is_own => format!("std::{}!", path[0]),
                        (false, true) => format!("{}!", self.resolve(&path)),
                        (false, false) if is_own => String::new(),
                        (false, false) => self.resolve(&path),
                    };
                    if !name.is_empty() {
                        content.names.push(Name { name, line });
                    }
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
            at += 1;
        }
    }
}

fn is_punct(token: &TokenTree, wanted: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == wanted)
}

/// Whether `!` and a bracketed group follow.
fn is_macro_call(rest: &[TokenTree]) -> bool {
    matches!(rest, [mark, TokenTree::Group(group), ..]
        if is_punct(mark, '!') && group.delimiter() != Delimiter::None)
}

/// Each path of a `use`, and its name in this module.
fn flatten(tree: &UseTree, before: &mut Vec<Ident>, found: &mut Vec<(Vec<Ident>, Ident)>) {
    match tree {
        UseTree::Path(part) => {
            before.push(part.ident.clone());
            flatten(&part.tree, before, found);
            before.pop();
        }
        UseTree::Name(last) if last.ident == "self" => {
            let name = before.last().expect("`use self` imports nothing").clone();
            found.push((before.clone(), name));
        }
        UseTree::Name(last) => {
            found.push((
                [&before[..], std::slice::from_ref(&last.ident)].concat(),
                last.ident.clone(),
            ));
        }
        UseTree::Rename(last) => {
            found.push((
                [&before[..], std::slice::from_ref(&last.ident)].concat(),
                last.rename.clone(),
            ));
        }
        UseTree::Glob(star) => {
            let name = Ident::new("glob", star.star_token.spans[0]);
            found.push((before.clone(), name));
        }
        UseTree::Group(group) => {
            group.items.iter().for_each(|tree| flatten(tree, before, found));
        }
    }
}

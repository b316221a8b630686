//! One page: its instructions, as far as they move and show text. What comes of them are runs: pieces of text with their places.

use std::rc::Rc;

use lopdf::content::{Content, Operation};
use lopdf::{Dictionary, Document, Object, ObjectId, Stream};

use crate::pdf::font::{Font, Fonts};
use crate::pdf::{MAX_STREAM_BYTES, annotations};

/// Pictures within pictures, as deep as anybody draws them.
const MAX_DEPTH: usize = 12;
/// Saved states of one page.
const MAX_SAVED: usize = 256;
/// Pieces of text of one page: a page that is full of small print, drawn letter by letter, has some ten thousand.
const MAX_RUNS: usize = 100_000;
/// A shadow or a fake bold is the same text again, so close.
const SHADOW: f32 = 0.12;
/// So far back it is looked for.
const SHADOW_RUNS: usize = 8;

/// Places and directions: `a b c d e f` of the standard.
#[derive(Debug, Clone, Copy)]
struct Matrix([f32; 6]);

impl Matrix {
    const IDENTITY: Self = Self([1.0, 0.0, 0.0, 1.0, 0.0, 0.0]);

    fn moved(x: f32, y: f32) -> Self {
        Self([1.0, 0.0, 0.0, 1.0, x, y])
    }

    /// This, and then `next`.
    fn then(self, next: Self) -> Self {
        let ([a, b, c, d, e, f], [na, nb, nc, nd, ne, nf]) = (self.0, next.0);
        Self([
            a * na + b * nc,
            a * nb + b * nd,
            c * na + d * nc,
            c * nb + d * nd,
            e * na + f * nc + ne,
            e * nb + f * nd + nf,
        ])
    }

    fn place(self) -> (f32, f32) {
        let [.., e, f] = self.0;
        (e, f)
    }

    /// How long and how high something becomes that was 1 long and high.
    fn scale(self) -> (f32, f32) {
        let [a, b, c, d, ..] = self.0;
        (a.hypot(b), c.hypot(d))
    }
}

/// What `q` saves, as far as it matters here.
#[derive(Clone)]
struct Graphics {
    matrix: Matrix,
    font: Option<Rc<Font>>,
    size: f32,
    leading: f32,
    /// Added to the width of each character, and of each space.
    spacing: f32,
    word_spacing: f32,
    /// How wide everything is drawn.
    stretch: f32,
    rise: f32,
}

impl Graphics {
    fn new() -> Self {
        Self {
            matrix: Matrix::IDENTITY,
            font: None,
            size: 1.0,
            leading: 0.0,
            spacing: 0.0,
            word_spacing: 0.0,
            stretch: 1.0,
            rise: 0.0,
        }
    }
}

/// A piece of text and where it stands, in the page's own measure, with y upwards.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) text: String,
    /// Where it begins and ends on its baseline.
    pub(crate) from: (f32, f32),
    pub(crate) to: (f32, f32),
    /// The height of the font.
    pub(crate) size: f32,
    /// Its end is known, and not guessed.
    pub(crate) known: bool,
    /// It was placed by itself, and does not just go on after the run before.
    pub(crate) placed: bool,
}

/// What a page holds.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) runs: Vec<Run>,
    pub(crate) has_picture: bool,
}

/// Reads one page's text.
pub(crate) struct PageReader<'d, 'f> {
    document: &'d Document,
    fonts: &'f mut Fonts<'d>,
    found: Found,
    graphics: Graphics,
    saved: Vec<Graphics>,
    /// The text's own matrix, and that of its line's beginning.
    matrix: Matrix,
    line: Matrix,
    placed: bool,
    /// The forms that are being read, so that none is read within itself.
    forms: Vec<ObjectId>,
}

impl<'d, 'f> PageReader<'d, 'f> {
    pub(crate) fn new(document: &'d Document, fonts: &'f mut Fonts<'d>) -> Self {
        Self {
            document,
            fonts,
            found: Found::default(),
            graphics: Graphics::new(),
            saved: Vec::new(),
            matrix: Matrix::IDENTITY,
            line: Matrix::IDENTITY,
            placed: true,
            forms: Vec::new(),
        }
    }

    /// A page that is broken gives what can be read of it.
    pub(crate) fn read(mut self, page: ObjectId) -> Found {
        if let Some(resources) = self.resources_of(page)
            && let Ok(content) = self.document.get_page_content_with_limit(page, MAX_STREAM_BYTES)
        {
            self.follow(&content, resources);
        }
        annotations::read(&mut self, page);
        self.found
    }

    /// The page's resources, or those of the group of pages that it is in.
    fn resources_of(&self, page: ObjectId) -> Option<&'d Dictionary> {
        let mut node = self.document.get_dictionary(page).ok()?;
        for _ in 0..MAX_SAVED {
            if let Ok(resources) = node.get_deref(b"Resources", self.document).and_then(Object::as_dict) {
                return Some(resources);
            }
            node = node.get_deref(b"Parent", self.document).and_then(Object::as_dict).ok()?;
        }
        None
    }

    fn follow(&mut self, content: &[u8], resources: &'d Dictionary) {
        for operation in Content::decode_iter(content) {
            let Ok(operation) = operation else { return };
            if self.found.runs.len() >= MAX_RUNS {
                return;
            }
            self.operation(&operation, resources);
        }
    }

    fn operation(&mut self, operation: &Operation, resources: &'d Dictionary) {
        let operands = operation.operands.as_slice();
        let number = |n: usize| operands.get(n).and_then(|operand| operand.as_float().ok()).unwrap_or(0.0);
        match operation.operator.as_str() {
            "q" if self.saved.len() < MAX_SAVED => self.saved.push(self.graphics.clone()),
            "Q" => {
                if let Some(saved) = self.saved.pop() {
                    self.graphics = saved;
                }
            }
            "cm" => self.graphics.matrix = matrix(operands).then(self.graphics.matrix),
            "BT" => self.begin_line(Matrix::IDENTITY),
            "Tm" => self.begin_line(matrix(operands)),
            "Td" => self.move_line(number(0), number(1)),
            "TD" => {
                self.graphics.leading = -number(1);
                self.move_line(number(0), number(1));
            }
            "Tc" => self.graphics.spacing = number(0),
            "Tw" => self.graphics.word_spacing = number(0),
            "Tz" => self.graphics.stretch = number(0) / 100.0,
            "Ts" => self.graphics.rise = number(0),
            "BI" => self.found.has_picture = true,
            "TL" => self.graphics.leading = number(0),
            "T*" => self.next_line(),
            "Tf" => {
                let name = operands.first().and_then(|name| name.as_name().ok()).unwrap_or_default();
                self.graphics.font = self.fonts.get(resources, name);
                self.graphics.size = number(1);
            }
            "Tj" => self.show_all(operands),
            "TJ" => {
                if let Some(Object::Array(strings)) = operands.first() {
                    self.show_all(strings);
                }
            }
            "'" | "\"" => {
                if let [word_spacing, spacing, _] = operands {
                    self.graphics.word_spacing = word_spacing.as_float().unwrap_or(0.0);
                    self.graphics.spacing = spacing.as_float().unwrap_or(0.0);
                }
                self.next_line();
                self.show_all(operands.last().map(std::slice::from_ref).unwrap_or_default());
            }
            "Do" => {
                let name = operands.first().and_then(|name| name.as_name().ok()).unwrap_or_default();
                self.form(name, resources);
            }
            _ => {}
        }
    }

    fn begin_line(&mut self, matrix: Matrix) {
        (self.matrix, self.line) = (matrix, matrix);
        self.placed = true;
    }

    fn move_line(&mut self, x: f32, y: f32) {
        self.begin_line(Matrix::moved(x, y).then(self.line));
    }

    fn next_line(&mut self) {
        self.move_line(0.0, -self.graphics.leading);
    }

    /// Strings, and numbers between them that move what comes after, in thousandths of the font's size to the left.
    fn show_all(&mut self, strings: &[Object]) {
        for string in strings {
            match string {
                Object::String(codes, _) => self.show(codes),
                other => {
                    let left = other.as_float().unwrap_or(0.0);
                    let by = -left / 1000.0 * self.graphics.size * self.graphics.stretch;
                    self.matrix = Matrix::moved(by, 0.0).then(self.matrix);
                }
            }
        }
    }

    fn show(&mut self, codes: &[u8]) {
        let Some(font) = self.graphics.font.clone() else { return };
        let text = font.text(codes);
        let Graphics { size, spacing, word_spacing, stretch, rise, .. } = self.graphics;
        let whole = Matrix::moved(0.0, rise).then(self.matrix).then(self.graphics.matrix);
        let (reach, known) = font.reach(codes);
        #[expect(clippy::cast_precision_loss, reason = "strings are short")]
        let between = {
            let spaces = if font.has_spaces() { codes.iter().filter(|code| **code == b' ').count() } else { 0 };
            font.count(codes) as f32 * spacing + spaces as f32 * word_spacing
        };
        self.matrix = Matrix::moved((reach * size + between) * stretch, 0.0).then(self.matrix);
        if text.trim().is_empty() {
            // A space is as good as a move over its width.
            return;
        }
        let to = Matrix::moved(0.0, rise).then(self.matrix).then(self.graphics.matrix).place();
        let (_, high) = whole.scale();
        let run = Run {
            text,
            from: whole.place(),
            to,
            size: (size * high).abs(),
            known,
            placed: std::mem::replace(&mut self.placed, false),
        };
        if [run.from.0, run.from.1, run.to.0, run.to.1, run.size].iter().all(|n| n.is_finite()) && !self.is_shadow(&run)
        {
            self.found.runs.push(run);
        }
    }

    fn is_shadow(&self, run: &Run) -> bool {
        let near = SHADOW * run.size;
        self.found.runs.iter().rev().take(SHADOW_RUNS).any(|other| {
            let (dx, dy) = (run.from.0 - other.from.0, run.from.1 - other.from.1);
            dx.abs() < near && dy.abs() < near && other.text == run.text
        })
    }

    /// A drawing that is used within the page.
    fn form(&mut self, name: &[u8], resources: &'d Dictionary) {
        let forms = resources.get_deref(b"XObject", self.document).and_then(Object::as_dict);
        let Some(id) = forms.ok().and_then(|forms| forms.get(name).ok()?.as_reference().ok()) else { return };
        let Ok(form) = self.document.get_object(id).and_then(Object::as_stream) else { return };
        let is = |kind: &[u8]| form.dict.get(b"Subtype").and_then(Object::as_name).is_ok_and(|subtype| subtype == kind);
        self.found.has_picture |= is(b"Image");
        if !is(b"Form") || self.forms.len() >= MAX_DEPTH || self.forms.contains(&id) {
            return;
        }
        let Ok(content) = form.get_plain_content_with_limit(MAX_STREAM_BYTES) else { return };
        let own = form.dict.get_deref(b"Resources", self.document).and_then(Object::as_dict).unwrap_or(resources);
        let (graphics, saved) = (self.graphics.clone(), std::mem::take(&mut self.saved));
        if let Ok(operands) = form.dict.get_deref(b"Matrix", self.document).and_then(Object::as_array) {
            self.graphics.matrix = matrix(operands).then(self.graphics.matrix);
        }
        self.forms.push(id);
        self.follow(&content, own);
        self.forms.pop();
        (self.graphics, self.saved) = (graphics, saved);
    }

    /// A form that is drawn over the page, with its lower left corner at a place.
    pub(crate) fn draw_at(&mut self, id: ObjectId, form: &'d Stream, (x, y): (f32, f32)) {
        let Ok(content) = form.get_plain_content_with_limit(MAX_STREAM_BYTES) else { return };
        let Ok(resources) = form.dict.get_deref(b"Resources", self.document).and_then(Object::as_dict) else { return };
        self.graphics = Graphics { matrix: Matrix::moved(x, y), ..Graphics::new() };
        self.saved.clear();
        self.forms.push(id);
        self.follow(&content, resources);
        self.forms.pop();
    }

    pub(crate) fn document(&self) -> &'d Document {
        self.document
    }

    pub(crate) fn runs_mut(&mut self) -> &mut [Run] {
        &mut self.found.runs
    }
}

/// Six numbers; the identity where they are not there.
fn matrix(operands: &[Object]) -> Matrix {
    let numbers: Vec<f32> = operands.iter().filter_map(|operand| operand.as_float().ok()).collect();
    numbers.try_into().map_or(Matrix::IDENTITY, Matrix)
}

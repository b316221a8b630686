//! One page: its instructions, as far as they move and show text.

use std::rc::Rc;

use lopdf::content::{Content, Operation};
use lopdf::{Dictionary, Document, Object, ObjectId};

use crate::pdf::MAX_STREAM_BYTES;
use crate::pdf::font::{Font, Fonts};
use crate::text::Text;

/// Pictures within pictures, as deep as anybody draws them.
const MAX_DEPTH: usize = 12;
/// Saved states of one page.
const MAX_SAVED: usize = 256;

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
struct Graphics<'d> {
    matrix: Matrix,
    font: Option<Rc<Font<'d>>>,
    size: f32,
    leading: f32,
}

/// What has moved since the last string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moved {
    Not,
    /// By so much from the last string's end.
    Along,
    /// To a place of its own.
    Elsewhere,
}

/// Where the last string ended.
#[derive(Clone, Copy)]
struct End {
    x: f32,
    y: f32,
    /// Its end is known, and not guessed.
    known: bool,
}

/// Reads one page's text.
pub(crate) struct PageReader<'d, 't> {
    document: &'d Document,
    fonts: &'t mut Fonts<'d>,
    text: &'t mut Text,
    graphics: Graphics<'d>,
    saved: Vec<Graphics<'d>>,
    /// The text's own matrix, and that of its line's beginning.
    matrix: Matrix,
    line: Matrix,
    moved: Moved,
    end: Option<End>,
    /// The forms that are being read, so that none is read within itself.
    forms: Vec<ObjectId>,
}

impl<'d, 't> PageReader<'d, 't> {
    pub(crate) fn new(document: &'d Document, fonts: &'t mut Fonts<'d>, text: &'t mut Text) -> Self {
        let graphics = Graphics { matrix: Matrix::IDENTITY, font: None, size: 1.0, leading: 0.0 };
        Self {
            document,
            fonts,
            text,
            graphics,
            saved: Vec::new(),
            matrix: Matrix::IDENTITY,
            line: Matrix::IDENTITY,
            moved: Moved::Not,
            end: None,
            forms: Vec::new(),
        }
    }

    /// A page that is broken gives what can be read of it.
    pub(crate) fn read(mut self, page: ObjectId) {
        let Ok(content) = self.document.get_page_content_with_limit(page, MAX_STREAM_BYTES) else { return };
        if let Some(resources) = self.resources_of(page) {
            self.follow(&content, resources);
        }
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
            if self.text.is_full() {
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
        self.moved = Moved::Elsewhere;
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
                    self.matrix = Matrix::moved(-left / 1000.0 * self.graphics.size, 0.0).then(self.matrix);
                    if self.moved == Moved::Not {
                        self.moved = Moved::Along;
                    }
                }
            }
        }
    }

    fn show(&mut self, codes: &[u8]) {
        let Some(font) = self.graphics.font.clone() else { return };
        let (shown, size) = (font.text(codes), self.graphics.size);
        let whole = self.matrix.then(self.graphics.matrix);
        let (reach, known) = font.reach(codes);
        self.matrix = Matrix::moved(reach * size, 0.0).then(self.matrix);
        if shown.trim().is_empty() {
            // A space is as good as a move over its width.
            self.moved = if self.moved == Moved::Not { Moved::Along } else { self.moved };
            return;
        }
        let ((x, y), (long, high)) = (whole.place(), whole.scale());
        if self.moved != Moved::Not {
            self.separate(x, y, (size * long).abs(), (size * high).abs());
        }
        self.text.push(&shown);
        // A row of strings is as well known as its least known one.
        let known = known && (self.moved == Moved::Elsewhere || self.end.is_none_or(|end| end.known));
        let (x, y) = self.matrix.then(self.graphics.matrix).place();
        self.end = Some(End { x, y, known });
        self.moved = Moved::Not;
    }

    /// Puts what stands between two words, lines or paragraphs before text that begins at `x`, `y`.
    fn separate(&mut self, x: f32, y: f32, size_x: f32, size_y: f32) {
        let Some(end) = self.end else { return };
        let (right, down) = (x - end.x, (y - end.y).abs());
        if down > 2.0 * size_y {
            self.text.end_paragraph();
        } else if down > 0.4 * size_y {
            self.text.end_line();
        } else if (self.moved == Moved::Elsewhere && !end.known) || right > 0.15 * size_x || right < -size_x {
            self.text.end_word();
        }
    }

    /// A drawing that is used within the page.
    fn form(&mut self, name: &[u8], resources: &'d Dictionary) {
        let forms = resources.get_deref(b"XObject", self.document).and_then(Object::as_dict);
        let Some(id) = forms.ok().and_then(|forms| forms.get(name).ok()?.as_reference().ok()) else { return };
        let Ok(form) = self.document.get_object(id).and_then(Object::as_stream) else { return };
        let is_form = form.dict.get(b"Subtype").and_then(Object::as_name).is_ok_and(|subtype| subtype == b"Form");
        if !is_form || self.forms.len() >= MAX_DEPTH || self.forms.contains(&id) {
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
}

/// Six numbers; the identity where they are not there.
fn matrix(operands: &[Object]) -> Matrix {
    let numbers: Vec<f32> = operands.iter().filter_map(|operand| operand.as_float().ok()).collect();
    numbers.try_into().map_or(Matrix::IDENTITY, Matrix)
}

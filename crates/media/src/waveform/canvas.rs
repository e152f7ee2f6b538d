//! A small RGB picture: lines, figures, PNG.

/// Pixels, row by row from the top.
pub(super) struct Canvas {
    width: u32,
    height: u32,
    pixels: Vec<[u8; 3]>,
}

impl Canvas {
    pub(super) fn new(width: u32, height: u32, colour: [u8; 3]) -> Self {
        Self { width, height, pixels: vec![colour; width as usize * height as usize] }
    }

    pub(super) fn width(&self) -> u32 {
        self.width
    }

    pub(super) fn height(&self) -> u32 {
        self.height
    }

    /// A line from row `top` to before row `end`; what lies outside is cut.
    pub(super) fn vertical(&mut self, column: u32, top: u32, end: u32, colour: [u8; 3]) {
        (top..end.min(self.height)).for_each(|row| self.set(column, row, colour));
    }

    /// A line over the whole width.
    pub(super) fn horizontal(&mut self, row: u32, colour: [u8; 3]) {
        (0..self.width).for_each(|column| self.set(column, row, colour));
    }

    /// A number in figures of 4 × 7 pixels that begins at `column`. Left
    /// out if it would not fit.
    pub(super) fn figures(&mut self, column: u32, top: u32, number: u32, colour: [u8; 3]) {
        let text = number.to_string();
        if column + text.len() as u32 * 5 > self.width {
            return;
        }
        for (place, figure) in text.bytes().enumerate() {
            let rows = FIGURES[usize::from(figure - b'0')];
            for (row, bits) in (top..).zip(rows) {
                for bit in (0..4_u32).filter(|bit| bits & (8 >> bit) != 0) {
                    self.set(column + place as u32 * 5 + bit, row, colour);
                }
            }
        }
    }

    pub(super) fn to_png(&self) -> Vec<u8> {
        let mut png = Vec::new();
        let mut encoder = png::Encoder::new(&mut png, self.width, self.height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let written = encoder.write_header().and_then(|mut writer| {
            writer.write_image_data(self.pixels.as_flattened())?;
            writer.finish()
        });
        written.expect("sides are not 0, the pixels fill them, and memory takes every byte");
        png
    }

    fn set(&mut self, column: u32, row: u32, colour: [u8; 3]) {
        if column < self.width && row < self.height {
            self.pixels[row as usize * self.width as usize + column as usize] = colour;
        }
    }
}

/// 0 to 9, seven rows of four pixels each, the leftmost in bit 3.
const FIGURES: [[u8; 7]; 10] = [
    [0b0110, 0b1001, 0b1001, 0b1001, 0b1001, 0b1001, 0b0110],
    [0b0010, 0b0110, 0b0010, 0b0010, 0b0010, 0b0010, 0b0111],
    [0b0110, 0b1001, 0b0001, 0b0010, 0b0100, 0b1000, 0b1111],
    [0b1110, 0b0001, 0b0001, 0b0110, 0b0001, 0b0001, 0b1110],
    [0b0010, 0b0110, 0b1010, 0b1010, 0b1111, 0b0010, 0b0010],
    [0b1111, 0b1000, 0b1110, 0b0001, 0b0001, 0b1001, 0b0110],
    [0b0110, 0b1000, 0b1000, 0b1110, 0b1001, 0b1001, 0b0110],
    [0b1111, 0b0001, 0b0010, 0b0010, 0b0100, 0b0100, 0b0100],
    [0b0110, 0b1001, 0b1001, 0b0110, 0b1001, 0b1001, 0b0110],
    [0b0110, 0b1001, 0b1001, 0b0111, 0b0001, 0b0001, 0b0110],
];

//! Pictures that people send: unpacked within limits and written anew, so that nothing of the file is left but its pixels. Where it was
//! taken, with what, and whatever else stood in it is gone.

use std::io::Cursor;

use image::{DynamicImage, ImageFormat, ImageReader, Limits, codecs::jpeg::JpegEncoder, imageops::FilterType};

use crate::limits::{PICTURE_MEMORY_MAX, PICTURE_QUALITY, PICTURE_SIDE_KEPT, PICTURE_SIDE_MAX};

/// A file that is no picture, or too large a one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the file is no PNG, JPEG, WebP or GIF, or has too many pixels")]
pub(crate) struct NoPicture;

/// Makes of a file what is kept: JPEG, or PNG where something shows through. Takes a core for a moment.
pub(crate) fn cleaned(bytes: &[u8]) -> Result<Vec<u8>, NoPicture> {
    let picture = unpacked(bytes)?;
    let side = picture.width().max(picture.height());
    let picture = if side > PICTURE_SIDE_KEPT {
        picture.resize(PICTURE_SIDE_KEPT, PICTURE_SIDE_KEPT, FilterType::CatmullRom)
    } else {
        picture
    };
    if picture.color().has_alpha() {
        return as_png(&picture);
    }
    let mut written = Vec::new();
    let encoder = JpegEncoder::new_with_quality(&mut written, PICTURE_QUALITY);
    picture.to_rgb8().write_with_encoder(encoder).map_err(|_| NoPicture)?;
    Ok(written)
}

/// The same as PNG, which can carry a card.
pub(crate) fn png(bytes: &[u8]) -> Result<Vec<u8>, NoPicture> {
    as_png(&unpacked(bytes)?)
}

/// What a kept picture is, for whoever shows it.
pub(crate) fn content_type(bytes: &[u8]) -> &'static str {
    if bytes.starts_with(b"\x89PNG") {
        "image/png"
    } else {
        "image/jpeg"
    }
}

fn unpacked(bytes: &[u8]) -> Result<DynamicImage, NoPicture> {
    let mut reader = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(|_| NoPicture)?;
    let mut limits = Limits::default();
    limits.max_image_width = Some(PICTURE_SIDE_MAX);
    limits.max_image_height = Some(PICTURE_SIDE_MAX);
    limits.max_alloc = Some(PICTURE_MEMORY_MAX);
    reader.limits(limits);
    reader.decode().map_err(|_| NoPicture)
}

fn as_png(picture: &DynamicImage) -> Result<Vec<u8>, NoPicture> {
    let mut written = Cursor::new(Vec::new());
    picture
        .write_to(&mut written, ImageFormat::Png)
        .map_err(|_| NoPicture)?;
    Ok(written.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(width: u32, height: u32, format: ImageFormat) -> Vec<u8> {
        let mut written = Cursor::new(Vec::new());
        DynamicImage::new_rgb8(width, height)
            .write_to(&mut written, format)
            .unwrap();
        written.into_inner()
    }

    #[test]
    fn what_is_kept_is_small_and_has_nothing_but_pixels() {
        let jpeg = picture(1300, 20, ImageFormat::Jpeg);
        // A comment behind the beginning of the file, as a camera or a person writes it.
        let secret = b"\xff\xfe\x00\x0ataken at";
        let marked = [&jpeg[..2], secret, &jpeg[2..]].concat();
        assert!(unpacked(&marked).is_ok());
        let kept = cleaned(&marked).unwrap();
        assert!(!kept.windows(8).any(|window| window == b"taken at"));
        assert_eq!(
            (content_type(&kept), unpacked(&kept).unwrap().width()),
            ("image/jpeg", PICTURE_SIDE_KEPT)
        );
        for format in [ImageFormat::Png, ImageFormat::WebP, ImageFormat::Gif] {
            assert!(cleaned(&picture(3, 2, format)).is_ok(), "{format:?}");
        }
        let mut clear = Cursor::new(Vec::new());
        DynamicImage::new_rgba8(3, 2)
            .write_to(&mut clear, ImageFormat::Png)
            .unwrap();
        assert_eq!(content_type(&cleaned(&clear.into_inner()).unwrap()), "image/png");
        assert!(png(&kept).unwrap().starts_with(b"\x89PNG"));
    }

    #[test]
    fn what_is_no_picture_or_would_take_all_memory_is_refused() {
        assert_eq!(cleaned(b"<svg onload=alert(1)>"), Err(NoPicture));
        assert_eq!(cleaned(&[]), Err(NoPicture));
        let mut giant = picture(4, 4, ImageFormat::Png);
        giant[16..24].copy_from_slice(&[0, 1, 0, 0, 0, 1, 0, 0]);
        let checksum = crc(&giant[12..29]).to_be_bytes();
        giant[29..33].copy_from_slice(&checksum);
        assert_eq!(cleaned(&giant), Err(NoPicture), "65,536 pixels square");
    }

    fn crc(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(u32::MAX, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
                (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
            })
        })
    }
}

//! AES in the modes that frameworks use.

#![forbid(unsafe_code)]

use aes::cipher::block_padding::Pkcs7;
use aes::cipher::consts::U16;
use aes::cipher::{BlockCipherDecrypt, BlockModeDecrypt, BlockSizeUser, InnerIvInit};
use aes_gcm::aead::AeadInOut;

/// What CBC made `sealed` of, without its PKCS#7 padding. `None`: not of whole blocks, or padded otherwise.
/// Nobody must learn which: what signs the bytes is to be verified before.
pub(super) fn cbc<C>(cipher: &C, iv: &[u8], sealed: &[u8]) -> Option<Vec<u8>>
where
    C: BlockCipherDecrypt + BlockSizeUser<BlockSize = U16>,
{
    let decryptor = cbc::Decryptor::inner_iv_init(cipher, iv.try_into().ok()?);
    let mut value = sealed.to_vec();
    let length = decryptor.decrypt_padded::<Pkcs7>(&mut value).ok()?.len();
    value.truncate(length);
    Some(value)
}

/// What GCM made `sealed` of, without associated data. `None`: not by this key; a tag with less than its
/// 16 bytes is none.
pub(super) fn gcm<C: AeadInOut>(
    cipher: &C,
    iv: &[u8],
    tag: &[u8],
    sealed: &[u8],
) -> Option<Vec<u8>> {
    let (iv, tag) = (iv.try_into().ok()?, tag.try_into().ok()?);
    let mut value = sealed.to_vec();
    cipher.decrypt_inout_detached(iv, b"", value.as_mut_slice().into(), tag).ok()?;
    Some(value)
}

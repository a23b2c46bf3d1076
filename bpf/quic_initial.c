/* SPDX-License-Identifier: Apache-2.0 */
#include "bpf/quic_initial.h"

#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <string.h>

#define VERSION_1 1
#define CONNECTION_ID_BYTES_MAX 20
#define KEY_BYTES 16
#define IV_BYTES 12
#define TAG_BYTES 16
#define SAMPLE_BYTES 16
#define SAMPLE_OFFSET 4 /* from where the packet number begins */
#define DATAGRAM_BYTES_MAX 4096

#define FRAME_PADDING 0x00
#define FRAME_PING 0x01
#define FRAME_CRYPTO 0x06

/* Reads forward; once it fails it stays failed. */
struct reader {
    const uint8_t *at;
    size_t left;
    bool failed;
};

static const uint8_t *
take(struct reader *reader, size_t count)
{
    if (reader->failed || count > reader->left) {
        reader->failed = true;
        return NULL;
    }
    const uint8_t *bytes = reader->at;
    reader->at += count;
    reader->left -= count;
    return bytes;
}

/* RFC 9000, 16. */
static uint64_t
take_varint(struct reader *reader)
{
    const uint8_t *first = take(reader, 1);
    if (first == NULL) {
        return 0;
    }
    size_t more = ((size_t)1 << (*first >> 6)) - 1;
    uint64_t value = *first & 0x3f;
    const uint8_t *rest = take(reader, more);
    for (size_t i = 0; rest != NULL && i < more; i++) {
        value = value << 8 | rest[i];
    }
    return value;
}

/* --- keys (RFC 9001, 5.1 and 5.2) --------------------------------------------------------------
 */

struct keys {
    uint8_t key[KEY_BYTES], iv[IV_BYTES], header[KEY_BYTES];
};

static bool
derive(int mode, const uint8_t *key, size_t key_bytes, const uint8_t *more, size_t more_bytes,
       uint8_t *out, size_t out_bytes)
{
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_id(EVP_PKEY_HKDF, NULL);
    bool ok = context != NULL && EVP_PKEY_derive_init(context) > 0 &&
              EVP_PKEY_CTX_hkdf_mode(context, mode) > 0 &&
              EVP_PKEY_CTX_set_hkdf_md(context, EVP_sha256()) > 0 &&
              EVP_PKEY_CTX_set1_hkdf_key(context, key, (int)key_bytes) > 0 &&
              (mode == EVP_PKEY_HKDEF_MODE_EXTRACT_ONLY
                   ? EVP_PKEY_CTX_set1_hkdf_salt(context, more, (int)more_bytes)
                   : EVP_PKEY_CTX_add1_hkdf_info(context, more, (int)more_bytes)) > 0 &&
              EVP_PKEY_derive(context, out, &out_bytes) > 0;
    EVP_PKEY_CTX_free(context);
    return ok;
}

/* HKDF-Expand-Label of RFC 8446, 7.1, without a context. */
static bool
expand(const uint8_t secret[static 32], const char *label, uint8_t *out, size_t out_bytes)
{
    uint8_t info[64] = {
        0, (uint8_t)out_bytes, (uint8_t)(6 + strlen(label)), 't', 'l', 's', '1', '3', ' '};
    memcpy(info + 9, label, strlen(label));
    return derive(EVP_PKEY_HKDEF_MODE_EXPAND_ONLY, secret, 32, info, 10 + strlen(label), out,
                  out_bytes);
}

static bool
derive_keys(const uint8_t *destination, size_t destination_bytes, struct keys *keys)
{
    static const uint8_t salt[] = {0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17,
                                   0x9a, 0xe6, 0xa4, 0xc8, 0x0c, 0xad, 0xcc, 0xbb, 0x7f, 0x0a};
    uint8_t initial[32], client[32];
    return derive(EVP_PKEY_HKDEF_MODE_EXTRACT_ONLY, destination, destination_bytes, salt,
                  sizeof salt, initial, sizeof initial) &&
           expand(initial, "client in", client, sizeof client) &&
           expand(client, "quic key", keys->key, sizeof keys->key) &&
           expand(client, "quic iv", keys->iv, sizeof keys->iv) &&
           expand(client, "quic hp", keys->header, sizeof keys->header);
}

/* --- a packet ----------------------------------------------------------------------------------
 */

static bool
make_mask(const struct keys *keys, const uint8_t *sample, uint8_t mask[static SAMPLE_BYTES])
{
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    int bytes = 0;
    bool ok = context != NULL &&
              EVP_EncryptInit_ex(context, EVP_aes_128_ecb(), NULL, keys->header, NULL) > 0 &&
              EVP_CIPHER_CTX_set_padding(context, 0) > 0 &&
              EVP_EncryptUpdate(context, mask, &bytes, sample, SAMPLE_BYTES) > 0 &&
              bytes == SAMPLE_BYTES;
    EVP_CIPHER_CTX_free(context);
    return ok;
}

/* Decrypts; the head is what is authenticated with it. Returns the bytes, or -1. */
static int
open_payload(const struct keys *keys, uint32_t packet_number, const uint8_t *head,
             size_t head_bytes, const uint8_t *sealed, size_t sealed_bytes, uint8_t *plain)
{
    uint8_t nonce[IV_BYTES];
    uint8_t tag[TAG_BYTES];
    int bytes = 0, rest = 0;
    size_t text_bytes = sealed_bytes - TAG_BYTES;
    memcpy(nonce, keys->iv, sizeof nonce);
    for (size_t i = 0; i < 4; i++) {
        nonce[IV_BYTES - 1 - i] ^= (uint8_t)(packet_number >> (8 * i));
    }
    memcpy(tag, sealed + text_bytes, sizeof tag);
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    bool ok = context != NULL &&
              EVP_DecryptInit_ex(context, EVP_aes_128_gcm(), NULL, keys->key, nonce) > 0 &&
              EVP_DecryptUpdate(context, NULL, &rest, head, (int)head_bytes) > 0 &&
              EVP_DecryptUpdate(context, plain, &bytes, sealed, (int)text_bytes) > 0 &&
              EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, TAG_BYTES, tag) > 0 &&
              EVP_DecryptFinal_ex(context, plain + bytes, &rest) > 0;
    EVP_CIPHER_CTX_free(context);
    return ok ? bytes : -1;
}

/* The frames that a client's first Initials have; one of another kind ends the reading. */
static void
read_frames(const uint8_t *plain, size_t count, struct ns_pieces *crypto)
{
    struct reader frames = {plain, count, false};
    while (frames.left > 0) {
        uint64_t type = take_varint(&frames);
        if (type == FRAME_CRYPTO) {
            uint64_t offset = take_varint(&frames);
            uint64_t bytes = take_varint(&frames);
            const uint8_t *data = bytes > frames.left || offset > NS_PIECES_BYTES_MAX
                                      ? NULL
                                      : take(&frames, (size_t)bytes);
            if (data == NULL) {
                return;
            }
            ns_pieces_put(crypto, (size_t)offset, data, (size_t)bytes);
        } else if (type != FRAME_PADDING && type != FRAME_PING) {
            return;
        }
    }
}

/* An Initial from its first byte; packet number and payload are the last `rest_bytes` of it. */
static bool
read_initial(const uint8_t *packet, size_t head_bytes, size_t rest_bytes,
             const uint8_t *destination, size_t destination_bytes, struct ns_pieces *crypto)
{
    uint8_t head[DATAGRAM_BYTES_MAX], plain[DATAGRAM_BYTES_MAX], mask[SAMPLE_BYTES];
    struct keys keys;
    if (rest_bytes < SAMPLE_OFFSET + SAMPLE_BYTES ||
        !derive_keys(destination, destination_bytes, &keys) ||
        !make_mask(&keys, packet + head_bytes + SAMPLE_OFFSET, mask)) {
        return false;
    }
    memcpy(head, packet, head_bytes + 4);
    head[0] ^= mask[0] & 0x0f;
    size_t number_bytes = (head[0] & 3U) + 1;
    uint32_t number = 0;
    for (size_t i = 0; i < number_bytes; i++) {
        head[head_bytes + i] ^= mask[1 + i];
        number = number << 8 | head[head_bytes + i];
    }
    size_t sealed_bytes = rest_bytes - number_bytes;
    if (sealed_bytes < TAG_BYTES) {
        return false;
    }
    int count = open_payload(&keys, number, head, head_bytes + number_bytes,
                             packet + head_bytes + number_bytes, sealed_bytes, plain);
    if (count >= 0) {
        read_frames(plain, (size_t)count, crypto);
    }
    return count >= 0;
}

bool
ns_quic_read_datagram(const uint8_t *datagram, size_t count, struct ns_pieces *crypto)
{
    bool some = false;
    if (count > DATAGRAM_BYTES_MAX - 4) {
        return false;
    }
    struct reader reader = {datagram, count, false};
    while (reader.left > 0) {
        const uint8_t *packet = reader.at;
        const uint8_t *first = take(&reader, 1);
        const uint8_t *version = take(&reader, 4);
        const uint8_t *bytes = take(&reader, 1);
        if (bytes == NULL || (*first & 0xc0) != 0xc0 || version[0] != 0 || version[1] != 0 ||
            version[2] != 0 || version[3] != VERSION_1 || *bytes > CONNECTION_ID_BYTES_MAX) {
            break;
        }
        size_t destination_bytes = *bytes;
        const uint8_t *destination = take(&reader, destination_bytes);
        bytes = take(&reader, 1);
        take(&reader, bytes == NULL ? 0 : *bytes);
        bool initial = (*first & 0x30) == 0;
        if (initial) {
            uint64_t token_bytes = take_varint(&reader);
            take(&reader, token_bytes > reader.left ? reader.left + 1 : (size_t)token_bytes);
        }
        uint64_t rest_bytes = take_varint(&reader);
        size_t head_bytes = (size_t)(reader.at - packet);
        if (reader.failed || rest_bytes > reader.left) {
            break;
        }
        some = (initial && read_initial(packet, head_bytes, (size_t)rest_bytes, destination,
                                        destination_bytes, crypto)) ||
               some;
        take(&reader, (size_t)rest_bytes);
    }
    return some;
}

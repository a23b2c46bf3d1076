/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The families' maxima for what is not text. Larger than needed is safe: a hold reserves more.
 *
 * OpenAI, "Images and vision": tiles of 512 px after fitting into 2048 × 768 px, so at most 8:
 * 85 + 8 × 170 tokens (gpt-4o), 2,833 + 8 × 5,667 (gpt-4o-mini); newer models count patches of
 * 32 px, at most 1,536 times 2.46 (gpt-4.1-nano), or 10,000 with detail "original" from gpt-5.4 on,
 * which is billed times 1.2. Audio: 10 tokens a second, MP3 of at least 8 kbit/s.
 * Anthropic, "Vision": width × height / 750, at most about 1,600, from Opus 4.7 on 4,784. "PDF
 * support": 1,500 to 3,000 tokens a page of text, and the page as a picture.
 * Google, "Understand and count tokens", "Media resolution": tiles of 768 px, 258 tokens each, 17
 * of them at most; 2,240 at the highest resolution of Gemini 3; audio 32 tokens a second (Opus of
 * at least 6 kbit/s, 9.5 hours), video 263 and more a second (some 64 kbit/s), PDF 258 to 1,120 a
 * page.
 * A document compresses its text: one token a byte is beyond what such files reach.
 */
#include "pricing/attachments.h"

#include <stddef.h>
#include <string.h>

#define WINDOW 1048576 /* as much as a window of a million tokens takes */

static const struct ns_price_attachments table[] = {
    {
        .family = "openai",
        .model = "gpt-4o-mini",
        .image = {48169, 0, 25501, 0},
        .audio = {131072, 100, 600, 800},
        .video = {WINDOW, 1, 20000, 100},
        .file = {WINDOW, 1, 20000, 16},
    },
    {
        .family = "openai",
        .model = "",
        .image = {12000, 0, 1105, 0},
        .audio = {131072, 100, 600, 800},
        .video = {WINDOW, 1, 20000, 100},
        .file = {WINDOW, 1, 20000, 16},
    },
    {
        .family = "anthropic",
        .model = "",
        .image = {4784, 0, 1568, 0},
        .audio = {WINDOW, 16, 2000, 250},
        .video = {WINDOW, 1, 20000, 100},
        .file = {WINDOW, 1, 20000, 16},
    },
    {
        .family = "gemini",
        .model = "",
        .image = {4386, 0, 1120, 0},
        .audio = {1094400, 16, 2000, 250},
        .video = {WINDOW, 16, 20000, 100},
        .file = {WINDOW, 1, 5000, 64},
    },
    {
        .family = NULL,
        .model = "",
        .image = {12000, 0, 1600, 0},
        .audio = {WINDOW, 16, 2000, 250},
        .video = {WINDOW, 1, 20000, 100},
        .file = {WINDOW, 1, 20000, 16},
    },
};

const struct ns_price_attachments *
ns_price_attachments_of(const char *family, const char *model)
{
    const struct ns_price_attachments *row = table;
    for (; row->family != NULL; row++) {
        if (family != NULL && strcmp(row->family, family) == 0 &&
            strncmp(model, row->model, strlen(row->model)) == 0) {
            break;
        }
    }
    return row;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Policy images written by hand, so that the datapath is tested without the compiler. */
#pragma once

#include "policy/image.h"

struct img;

struct img *img_new(void);
void img_free(struct img *img); /* accepts NULL */
/* Selectors first..last (BY_PORT_*). Ranges of one image are equal or disjoint. Returns the rule's number. */
uint32_t img_rule(struct img *img, enum by_dir dir, uint32_t first, uint32_t last, uint32_t peer_class,
		  enum by_action action);
/* BY_RULE_* of a rule just made, and what they need. */
void img_flags(struct img *img, uint32_t rule, uint32_t flags, uint32_t rate, uint32_t burst);
/* An audit rule that would drop what `rule` decides. Returns the audit rule's number. */
uint32_t img_audit(struct img *img, uint32_t rule);
void img_member(struct img *img, const uint8_t instance_id[BY_INSTANCE_ID_LEN], uint32_t peer_class);
/* For the host: in the order of the addresses, ::/0 first. */
void img_net(struct img *img, const char *prefix, uint32_t peer_class);
/* Valid until the next call or img_free(). */
const struct pol_image *img_done(struct img *img);

/* SPDX-License-Identifier: Apache-2.0 */
/* A list of apps in place of a file of rules: dstack-vpc's VPC_ALLOWED_APPS, and the policy that it means. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bailey/types.h"

#define POL_APPS_MAX 256

struct pol_apps {
	bool any; /* else those: */
	uint8_t app[POL_APPS_MAX][BY_APP_ID_LEN];
	uint32_t n;
};

/* 40 hex digits, blanks around them; who is there already is not there twice. False: it is none, or there is no room.
 */
bool pol_apps_add(struct pol_apps *apps, const char *text, size_t len);
/* `any`, or ids with commas between. */
bool pol_apps_parse(struct pol_apps *apps, const char *text);
bool pol_apps_have(const struct pol_apps *apps, const uint8_t app_id[BY_APP_ID_LEN]);
/* The policy with one rule: these apps may open `allow` towards `to`; NULL: towards each other. malloc'ed; NULL: out of
 * memory. */
char *pol_apps_text(const struct pol_apps *apps, const char *to, const char *allow);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* `bailey cert verify` (cert_verify.c); argv[0] is "verify". */
int cert_verify_main(int argc, char **argv, const char *usage);

/* SPDX-License-Identifier: Apache-2.0 */
#include "sse/parser.h"

/* SPDX-License-Identifier: Apache-2.0 */
#include "decode/base64.h"

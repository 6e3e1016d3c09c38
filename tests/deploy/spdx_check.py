"""spdx_check.py FILE, with spdx-tools on its path: prints what is wrong with an SPDX
document in JSON, and nothing when it is valid."""

import sys

from spdx_tools.spdx.parser.parse_anything import parse_file
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

for message in validate_full_spdx_document(parse_file(sys.argv[1])):
    print(message.validation_message)

/** The system's Python, which has the peers that Debian packages; `STEPCREDIT_PYTHON` names another. */
export const python = process.env["STEPCREDIT_PYTHON"] ?? "/usr/bin/python3";

"""Every error that the sandbox returns, with Stripe's texts and shape.

The status decides which exception the SDK raises; `executed` decides whether the answer is kept.
"""

from typing import Any

from sandbox.shapes import Json

DOCS = "https://docs.stripe.com/error-codes"


class ApiError(Exception):
    """An answer that is not 2xx.

    `executed` is true once the request began to run: then what it wrote stays (a decline
    leaves a failed charge) and the answer is stored under the idempotency key.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        executed: bool = False,
        **more: Any,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.executed = executed
        error: Json = {"message": message, "type": type}
        if code:
            error |= {"code": code, "doc_url": f"{DOCS}/{code.replace('_', '-')}"}
        if param:
            error["param"] = param
        error.update({name: value for name, value in more.items() if value is not None})
        self.body: Json = {"error": error}


def unknown_parameter(name: str) -> ApiError:
    """A parameter that this operation does not take."""
    hint = "The sandbox takes the parameters listed beside each operation in its source."
    return ApiError(
        400, f"Received unknown parameter: {name}. {hint}", code="parameter_unknown", param=name
    )


def missing_parameter(name: str) -> ApiError:
    """A required parameter is missing."""
    return ApiError(400, f"Missing required param: {name}.", code="parameter_missing", param=name)


def empty_parameter(name: str) -> ApiError:
    """An empty string where nothing can be unset."""
    return ApiError(
        400,
        f"You passed an empty string for '{name}'. We assume empty values are an attempt to "
        f"unset a parameter; however '{name}' cannot be unset. You should remove '{name}' from "
        "your request or supply a non-empty value.",
        code="parameter_invalid_empty",
        param=name,
    )


def invalid(message: str, param: str | None = None, code: str | None = None) -> ApiError:
    """An invalid value, refused before anything runs."""
    return ApiError(400, message, code=code, param=param)


def payment_method_types_gone(name: str) -> ApiError:
    """The endive version's error for the old parameter."""
    return ApiError(
        400,
        f"The `{name}` parameter is no longer supported in this API version. Use "
        "`allowed_payment_method_types`, `excluded_payment_method_types` or "
        "`automatic_payment_methods` instead.",
        code="payment_method_types_no_longer_supported",
        param=name,
    )


def no_such(noun: str, object_id: str, param: str | None = None) -> ApiError:
    """404 for an id in the path, 400 for one named by a parameter."""
    status = 404 if param in (None, "id", "intent") else 400
    return ApiError(
        status, f"No such {noun}: '{object_id}'", code="resource_missing", param=param or "id"
    )


def unauthorized(message: str, code: str | None = None) -> ApiError:
    """A key that is missing, foreign or live."""
    return ApiError(401, message, code=code)


def unexpected_state(message: str, noun: str, intent: Json, **more: Any) -> ApiError:
    """An intent that is past the point where this could be done; it comes with the error."""
    refused = ApiError(400, message, code=f"{noun}_unexpected_state", executed=True, **more)
    refused.body["error"][noun] = intent
    return refused


def key_reused(key: str, method_path: str | None) -> ApiError:
    """The same idempotency key for another request."""
    what = "with the same parameters they were first used with"
    if method_path:
        what = f"for the same endpoint they were first used for ({method_path})"
    return ApiError(
        400,
        f"Keys for idempotent requests can only be used {what}. Try using a key other than "
        f"'{key}' if you meant to execute a different request.",
        type="idempotency_error",
    )


def key_in_use(key: str) -> ApiError:
    """The first request under this key is still running."""
    return ApiError(
        409,
        f"There is currently another in-progress request using this Idempotency Key ({key}). "
        "Please try again later.",
        type="idempotency_error",
        code="idempotency_key_in_use",
    )


def not_permitted() -> ApiError:
    """A right that a restricted key lacks, also one to expand what the answer names."""
    return ApiError(
        403,
        "The provided key does not have the required permissions for this endpoint. Having the "
        "'rak_balance_read' permission would allow this request to continue.",
    )


def rate_limited() -> ApiError:
    """Too many requests; nothing ran and nothing is kept."""
    return ApiError(
        429, "Request rate limit exceeded. You can retry this request.", code="rate_limit"
    )


def lock_timeout() -> ApiError:
    """Another request is still working on the object; nothing ran and nothing is kept."""
    return ApiError(
        429,
        "This object cannot be accessed right now because another API request or Stripe process "
        "is currently accessing it. If you see this error intermittently, retry the request.",
        code="lock_timeout",
    )


def account_refused() -> ApiError:
    """A refusal for the state of the seller's account, which lasts until somebody repairs it."""
    return ApiError(
        400,
        "Your account cannot currently make live charges.",
        code="testmode_charges_only",
        executed=True,
    )


def server_error() -> ApiError:
    """A failure on the sandbox's side."""
    return ApiError(500, "An error occurred while processing your request.", type="api_error")

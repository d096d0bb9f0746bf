"""/openapi.json: how the framework is asked to describe the routes, and what it says wrong put right. Called by api.http."""

from litestar import Litestar
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, OpenAPIMediaType, Operation, RequestBody, Schema, SecurityScheme
from litestar.openapi.spec.enums import OpenAPIType


def describe(version: str) -> OpenAPIConfig:
    """The configuration of the API description."""
    return OpenAPIConfig(
        title="SecureConnect",
        version=version,
        description="Calls for any chat application. Sockets are described at /asyncapi.json; shapes and rules in docs/.",
        path="/openapi.json",
        render_plugins=[JsonRenderPlugin(path="/")],
        components=Components(security_schemes={"bearer": SecurityScheme(type="http", scheme="bearer", bearer_format="JWT")}),
        security=[{"bearer": []}],
    )


def correct(application: Litestar) -> None:
    """A body that may be null may be missing, and an answer without content has no content type."""
    for item in (application.openapi_schema.paths or {}).values():
        for operation in (item.get, item.post, item.put, item.patch, item.delete):
            if operation is not None:
                _correct_operation(operation)


def _correct_operation(operation: Operation) -> None:
    body = operation.request_body
    if isinstance(body, RequestBody):
        body.required = not any(_may_be_null(media) for media in body.content.values())
    for status, response in (operation.responses or {}).items():
        if status == "204":
            response.content = None  # type: ignore[union-attr]  # ours are never references


def _may_be_null(media: OpenAPIMediaType) -> bool:
    schema = media.schema
    choices = schema.one_of or [] if isinstance(schema, Schema) else []
    return any(isinstance(choice, Schema) and choice.type == OpenAPIType.NULL for choice in choices)

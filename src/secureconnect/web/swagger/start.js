// The page at /docs: a file of its own, because the content policy allows no inline scripts.
window.SwaggerUIBundle({ url: "/openapi.json", dom_id: "#swagger-ui", deepLinking: true, tryItOutEnabled: true });

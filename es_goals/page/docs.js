// Nothing is fetched from elsewhere: no validator, no fonts. A token that is entered goes with the page.
window.ui = SwaggerUIBundle({
  url: "/openapi.json", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null, persistAuthorization: false,
});

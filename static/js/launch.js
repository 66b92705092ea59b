// The count follows the form by itself here, so its button is not needed.
"use strict";
document.documentElement.classList.add("scripted");
